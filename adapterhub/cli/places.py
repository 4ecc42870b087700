"""From the options of a command to the registries and folders it works on."""

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from adapterhub.adapter.folder import AdapterFolder, read_folder
from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterNotFound, InvalidConfig, InvalidReference
from adapterhub.registry import Registries, open_registries
from adapterhub.registry.folders import is_folder_path
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
    if is_given_as_folder(adapter):
        return read_folder(Path(adapter))
    with telling_of_namesake(adapter):
        return registries.read(adapter)


def is_given_as_folder(adapter: str) -> bool:
    """Say whether a text means a folder: by its form, or because it can be no reference and such a folder is here.

    What can be a reference is one, whatever lies in the current folder.
    """
    if is_folder_path(adapter):
        return True
    try:
        Reference.parse(adapter)
    except InvalidReference:
        return bool(adapter) and Path(adapter).is_dir()  # an empty path would be the current folder
    return False


@contextmanager
def telling_of_namesake(reference: str) -> Iterator[None]:
    """Say, once a registry's adapter is found or is not, that a folder of its name is here and was not taken."""
    is_beside = Path(reference).is_dir()
    try:
        yield
    except AdapterNotFound as error:
        if is_beside:
            error.hint = f"For the folder of that name here, write ./{reference}."
        raise
    if is_beside:
        click.echo(f"{reference} is the registry's; for the folder of that name here, write ./{reference}.", err=True)
