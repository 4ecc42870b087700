"""`doctor`: say whether everything is here that adapterhub needs."""

from collections.abc import Callable

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table
from adapterhub.errors import AdapterHubError
from adapterhub.progress import waiting
from adapterhub.settings import Settings

Facts = dict[str, object]


@click.command(epilog="Example: adapterhub doctor --json")
@json_option
@guarded
def doctor(as_json: bool) -> None:
    """Check the installation: versions, processor, places, the embedded base."""
    with waiting("loading torch and the embedded base"):
        facts = _installation() | _places(Settings.from_environment())
    if as_json:
        print_json(facts)
    else:
        print_table("adapterhub doctor", ("what", "found"), list(facts.items()))


def _installation() -> Facts:
    import importlib.metadata
    import platform

    import torch

    from adapterhub.bases.processor import has_native_bfloat16

    packages = ("adapterhub", "torch", "transformers", "peft", "accelerate", "datasets", "obstore")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages},
            "processor threads": torch.get_num_threads(),
            "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
            "native bfloat16": has_native_bfloat16()}


def _places(settings: Settings) -> Facts:
    from adapterhub.bases.load import load_base
    from adapterhub.registry import Registry, open_registries

    shipped = settings.shipped_registry
    return {
        "embedded base": _told(lambda: load_base("embedded", cache=settings.cache).identity.fingerprint[:12]),
        "registry": settings.registry,
        "shipped registry": str(shipped) if shipped else "none",
        "shipped adapters": _told(lambda: len(Registry(shipped).list())) if shipped else 0,
        "adapters found": _told(lambda: len(open_registries(settings).list())),
        "cache": str(settings.cache),
        "data": str(settings.data) if settings.data else "none; only `scripts/build_registry` needs it",
    }


def _told(find: Callable[[], object]) -> object:
    """Return what is found, or the fault: a doctor goes on to the next organ."""
    try:
        return find()
    except AdapterHubError as error:
        return f"unusable: {error}"
