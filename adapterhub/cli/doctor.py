"""`doctor`: say whether everything is here that adapterhub needs."""

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table


@click.command(epilog="Example: adapterhub doctor --json")
@json_option
@guarded
def doctor(as_json: bool) -> None:
    """Check the installation: versions, processor, places, the embedded base."""
    import importlib.metadata
    import platform

    import torch

    from adapterhub.bases.load import load_base
    from adapterhub.errors import AdapterHubError
    from adapterhub.registry import open_registries
    from adapterhub.settings import Settings
    from adapterhub.training.loop import has_native_bfloat16

    settings = Settings.from_environment()
    try:
        base = load_base("embedded", cache=settings.cache).identity.fingerprint[:12]
    except AdapterHubError as error:
        base = f"missing: {error}"
    facts: dict[str, object] = {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name)
           for name in ("adapterhub", "torch", "transformers", "peft", "accelerate")},
        "processor threads": torch.get_num_threads(),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "native bfloat16": has_native_bfloat16(),
        "embedded base": base,
        "registry": settings.registry,
        "shipped registry": str(settings.shipped_registry),
        "adapters found": len(open_registries(settings).list()),
        "cache": str(settings.cache),
        "data": str(settings.data),
    }
    if as_json:
        print_json(facts)
    else:
        print_table("adapterhub doctor", ("what", "found"), list(facts.items()))
