"""From what a user writes (`embedded`, a folder, a Hub id) to a folder on this disk."""

from dataclasses import dataclass
from pathlib import Path

from adapterhub.bases.embedded import EMBEDDED, embedded_folder
from adapterhub.errors import BaseNotFound, did_you_mean, near_misses

_NEEDED = ["*.safetensors", "*.json", "*.txt", "*.model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSource:
    """Where a base lies."""

    id: str
    """As manifests name it: `embedded`, a Hub id, or a folder's last name, never a path of this machine."""
    revision: str | None
    """The Hub's commit; None for what did not come from the Hub."""
    folder: Path


def resolve_base(name: str, *, revision: str | None = None) -> BaseSource:
    """Find a base: `embedded`, a folder, or a Hub id through huggingface-hub's cache and offline mode.

    Raises BaseNotFound where it is in none of these places.
    """
    if name == EMBEDDED:
        return BaseSource(id=EMBEDDED, revision=None, folder=embedded_folder())
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BaseNotFound(f"{name} holds no config.json, so it is no transformers model.",
                               hint="Give a folder that `save_pretrained` wrote.")
        return BaseSource(id=folder.resolve().name, revision=None, folder=folder)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise BaseNotFound(f"No such base folder: {name}.", hint="Give a folder, a Hub id, or `embedded`.")
    return _from_hub(name, revision)


def _from_hub(name: str, revision: str | None) -> BaseSource:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_NEEDED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        near = did_you_mean(near_misses(name, [EMBEDDED]))
        raise BaseNotFound(f"Base {name!r} is no folder here and {_why_not_fetched(error)}.",
                           hint=near or "Check the id, or use `--base embedded`.") from error
    return BaseSource(id=name, revision=folder.name, folder=folder)


def _why_not_fetched(error: Exception) -> str:
    """Return, in a few words, what keeps the Hub from giving a model; its own messages run over many lines."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, HFValidationError):
        return "no Hub id either"
    if isinstance(error, RepositoryNotFoundError):
        return "the Hub has no such model, or you may not read it"
    if isinstance(error, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return "not in the Hub's cache, and HF_HUB_OFFLINE is set, so it is not fetched"
    lines = str(error).strip().splitlines()
    return f"cannot be fetched from the Hub ({lines[0].rstrip('.') if lines else type(error).__name__})"
