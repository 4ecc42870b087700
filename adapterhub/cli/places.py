"""From the options of a command to the registries and folders it works on."""

import getpass
from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.errors import InvalidConfig
from adapterhub.registry import Registries, open_registries
from adapterhub.settings import Settings


def open_places(place: str | None) -> tuple[Registries, Settings]:
    """Open the registry that was given, or the environment's, with the shipped one behind it.

    Raises InvalidConfig for an empty place, which would be taken for the current folder.
    """
    settings = Settings.from_environment()
    if place is not None:
        if not place.strip():
            raise InvalidConfig("--registry is empty.", hint="Name a folder or a bucket, or leave it out.")
        settings = replace(settings, registry=place)
    return open_registries(settings, by=current_user()), settings


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
