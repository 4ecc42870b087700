"""Sweeping: what a killed publisher left behind, once it is old enough. No version and no alias is ever touched."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from adapterhub.errors import InvalidConfig
from adapterhub.registry import layout
from adapterhub.registry.entry import Entry
from adapterhub.registry.local_place import STAGING_FOLDER
from adapterhub.registry.resolve import numbers, paths
from adapterhub.registry.stores import Store

MIN_AGE = timedelta(hours=24)
"""Longer than any upload takes; an upload that is swept while it runs is refused at its end, never half visible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """Objects of one abandoned upload."""

    what: str
    """`namespace/name@3`, or the staging folder."""
    entries: tuple[Entry, ...]

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(entry.size_bytes for entry in self.entries)


def find_remains(store: Store, *, now: datetime, min_age: timedelta = MIN_AGE) -> list[Remains]:
    """Return what never became a version and was last written at least `min_age` ago."""
    if min_age < timedelta(0):
        raise InvalidConfig(f"The age is {min_age}, expected 0 or more.")
    staged = [entry for entry in store.entries(STAGING_FOLDER) if now - entry.modified_at >= min_age]
    found = [Remains(what=STAGING_FOLDER, entries=tuple(staged))] if staged else []
    for path in paths(store):
        for number in numbers(store, path):
            entries = store.entries(layout.version_key(path, number))
            if _is_abandoned(entries) and now - max(entry.modified_at for entry in entries) >= min_age:
                found.append(Remains(what=f"{path}@{number}", entries=tuple(entries)))
    return found


def sweep(store: Store, remains: list[Remains]) -> int:
    """Delete remains and return their bytes; the claim goes first, so that its publisher finds it gone."""
    for part in remains:
        for entry in sorted(part.entries, key=lambda entry: not entry.key.endswith(layout.CLAIM_FILE)):
            store.delete(entry.key)
    return sum(part.size_bytes for part in remains)


def _is_abandoned(entries: list[Entry]) -> bool:
    return bool(entries) and not any(entry.key.endswith("/" + layout.VERSION_FILE) for entry in entries)
