"""Numbered create-once records in one folder: the highest number holds, the rest is its history.

Aliases, gates and policies are kept so; two writers cannot both win one number.
"""

from typing import TypeVar

from adapterhub.registry import layout
from adapterhub.registry.records import AnyRecord, parse_record, to_bytes
from adapterhub.registry.stores import Store

Kept = TypeVar("Kept", bound=AnyRecord)


def numbers(store: Store, folder: str) -> list[int]:
    """Return the numbers of a series, in order; empty where it has not begun."""
    files = (key.rpartition("/")[2] for key in store.keys(folder) if key.count("/") == folder.count("/") + 1)
    found = (layout.number_of(file.removesuffix(".json")) for file in files if file.endswith(".json"))
    return sorted(number for number in found if number)


def read(store: Store, kind: type[Kept], folder: str, number: int) -> Kept:
    """Return one record of a series that is known to be there. Raises InvalidFolder where it is damaged."""
    key = layout.numbered_key(folder, number)
    data = store.get(key)
    assert data is not None, f"{key} was listed a moment ago and nothing is ever removed"
    return parse_record(kind, data, key)


def newest(store: Store, kind: type[Kept], folder: str) -> tuple[int, Kept | None]:
    """Return the highest number with its record; 0 and None where the series has not begun."""
    taken = numbers(store, folder)
    return (taken[-1], read(store, kind, folder, taken[-1])) if taken else (0, None)


def append(store: Store, folder: str, number: int, record: AnyRecord) -> bool:
    """Write a record under a number; False where somebody else had it first."""
    return store.create(layout.numbered_key(folder, number), to_bytes(record))
