"""From the options of a command to the registries and folders it works on."""

from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.registry import Registries, open_registries
from adapterhub.settings import Settings


def open_places(place: str | None) -> tuple[Registries, Settings]:
    """Open the registry that was given, or the environment's, with the shipped one behind it."""
    settings = Settings.from_environment()
    if place is not None:
        settings = replace(settings, registry=place)
    return open_registries(settings), settings


def adapter_folder(adapter: str, registries: Registries) -> AdapterFolder:
    """Read an adapter given as a folder or as a reference. Raises as `read_folder` and `Registries.read`."""
    path = Path(adapter)
    return read_folder(path) if path.is_dir() else registries.read(adapter)
