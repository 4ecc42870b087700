"""What becomes of a fleet of adapters when their base moves: which go on as they are, which only fit, which break."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from adapterhub.adapter.check import BaseShapes, check_folder
from adapterhub.errors import AdapterHubError, InvalidFolder
from adapterhub.registry.registry import Registry
from adapterhub.registry.resolve import Version
from adapterhub.registry.search import read_listing

SAME = "goes on: the base is the same"
FITS = "breaks: other weights; it fits their shapes, so train it again or measure it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the new base means for one adapter."""

    version: Version
    breaks: bool
    """Whether loading it on the new base is refused."""
    why: str


def outlooks(registry: Registry, base_id: str, new_base: BaseShapes) -> Iterator[Outlook]:
    """Yield what moving to `new_base` means for the latest version of every adapter of the base `base_id`, by name.

    One adapter is in memory at a time; only those of another fingerprint are read. Raises StorageError.
    """
    for path in registry.paths():
        listing = read_listing(registry.store, path)
        if listing is None or listing.manifest.base.id.casefold() != base_id.casefold():
            continue
        if listing.manifest.base.fingerprint == new_base.fingerprint:
            yield Outlook(version=listing.version, breaks=False, why=SAME)
        else:
            why = _why(registry, listing.version, replace(new_base, fingerprint=listing.manifest.base.fingerprint))
            yield Outlook(version=listing.version, breaks=True, why=why)


def _why(registry: Registry, version: Version, shapes: BaseShapes) -> str:
    try:
        check_folder(registry.read(version), shapes)
    except InvalidFolder as error:
        return f"breaks: it does not fit: {'; '.join(error.faults[:3])}"
    except AdapterHubError as error:
        return f"cannot be read: {error.message}"
    return FITS
