"""From the options of a command to the registries and folders it works on."""

import getpass
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.errors import InvalidConfig
from adapterhub.registry import Registries, open_registries
from adapterhub.registry.signing import require_trust_anchor
from adapterhub.settings import Settings


def open_places(place: str | None, trust: Sequence[Path] = ()) -> tuple[Registries, Settings]:
    """Open the registry that was given, or the environment's, with the shipped one behind it.

    With `trust`, files of public keys or certificates, only what one of them signed is read.
    Raises InvalidConfig for an empty place, which would be taken for the current folder, and for a file that is no key.
    """
    settings = Settings.from_environment()
    if place is not None:
        if not place.strip():
            raise InvalidConfig("--registry is empty.", hint="Name a folder or a bucket, or leave it out.")
        settings = replace(settings, registry=place)
    trusted = [require_trust_anchor(file) for file in trust]
    return open_registries(settings, by=current_user(), trusted=trusted), settings


def current_user() -> str:
    """Return the login name that changes are recorded under, empty where the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def adapter_folder(adapter: str, registries: Registries) -> AdapterFolder:
    """Read an adapter given as a folder or as a reference. Raises as `read_folder` and `Registries.read`."""
    path = Path(adapter)
    return read_folder(path) if path.is_dir() else registries.read(adapter)
