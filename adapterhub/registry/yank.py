"""Yanking: a version that should not be taken any more, and why. Nothing is removed."""

from adapterhub.registry import layout
from adapterhub.registry.aliases import Mark
from adapterhub.registry.records import YankRecord, parse_record, to_bytes
from adapterhub.registry.stores import Store


def yank(store: Store, path: str, version: int, reason: str, mark: Mark) -> YankRecord:
    """Mark a version as yanked; where it is yanked already, the first reason stays and is returned."""
    key, record = layout.file_key(path, version, layout.YANKED_FILE), YankRecord(reason=reason, at=mark.at, by=mark.by)
    if store.create(key, to_bytes(record)):
        return record
    data = store.get(key)
    assert data is not None, f"{key} exists, and nothing is ever removed"
    return parse_record(YankRecord, data, key)


def read_yank(store: Store, path: str, version: int) -> YankRecord | None:
    """Return why a version was yanked, None where it was not."""
    key = layout.file_key(path, version, layout.YANKED_FILE)
    data = store.get(key)
    return parse_record(YankRecord, data, key) if data is not None else None
