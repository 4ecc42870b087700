"""Where a registry's keys lie on the Hugging Face Hub: which repo, at which tag or branch, under which path.

    support/intents                      the model repo organisation/support__intents
    .../versions/3/adapter_config.json   adapter_config.json at the tag v3
    .../versions/3/version.json          versions/3/version.json on the branch adapterhub, as every other record
    .policy/1.json                       .policy/1.json on that branch of organisation/adapterhub-registry

Two underscores stand for the slash: names that hold two of their own, or what the Hub's names may not hold, have no
repo there, so that every repo's name leads back to one adapter.
"""

from dataclasses import dataclass

from adapterhub.adapter.folder import FOLDER_FILES
from adapterhub.errors import StorageError
from adapterhub.registry import layout

RECORDS = "adapterhub"
"""The branch with claims, versions, yanks, aliases and gates."""
WHOLE_REGISTRY = "adapterhub-registry"
"""The repo with what belongs to no adapter; it has no two underscores, so it is no adapter's."""
MAX_NAME = 96
"""Characters of a repo's name. Source: huggingface_hub.utils.validate_repo_id."""
_SLASH = "__"
_NOT_ON_THE_HUB = ("--", "..", _SLASH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where one key lies."""

    repo: str
    """The repo's name, without the organisation."""
    version: int | None
    """The version at whose tag the file lies; None for a record."""
    file: str
    """The path in the repo."""


def repo_name(path: str) -> str | None:
    """Return the repo's name of `namespace/name`, None where the Hub has no room for it."""
    name = path.replace("/", _SLASH)
    is_held = (path.count("/") == 1 and len(name) <= MAX_NAME and not name.endswith(".git")
               and not any(part in path for part in _NOT_ON_THE_HUB))
    return name if is_held else None


def path_of(name: str) -> str | None:
    """Return `namespace/name` of a repo's name, None for a repo that cannot be an adapter's."""
    path = name.replace(_SLASH, "/")
    return path if layout.is_path(path) and repo_name(path) == name else None


def spot_of(key: str) -> Spot | None:
    """Return where a key lies, None where the Hub has no room for its name. Raises StorageError for a key with `..`."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise StorageError(f"The key {key!r} leaves the registry.", hint="Use the registry's own names.")
    if parts[0].startswith("."):
        return Spot(repo=WHOLE_REGISTRY, version=None, file=key)
    name = repo_name("/".join(parts[:2]))
    if name is None:
        return None
    if len(parts) == 5 and parts[2] == "versions" and parts[4] in FOLDER_FILES and (n := layout.number_of(parts[3])):
        return Spot(repo=name, version=n, file=parts[4])
    return Spot(repo=name, version=None, file="/".join(parts[2:]))


def version_tag(number: int) -> str:
    """Return the tag of a version."""
    return f"v{number}"


def tagged_version(tag: str) -> int | None:
    """Return the version that a tag is of, None for another tag."""
    return layout.number_of(tag[1:]) if tag.startswith("v") else None


def is_alias_tag(alias: str) -> bool:
    """Say whether an alias can be a tag too: it is not named as a version's tag or a branch is."""
    return tagged_version(alias) is None and alias not in ("main", RECORDS)
