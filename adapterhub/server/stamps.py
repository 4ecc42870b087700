"""A cheap proof that a reference of a registry on this disk still means what it meant: the times of its folders.

A name moves only by a file that is created, which changes the time of the folder above it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from adapterhub.adapter.reference import Reference
from adapterhub.registry import ReadableRegistry, Registries, Registry, Version, layout

_SETTLED_NS = 2_000_000_000
"""A folder that changed less than this before it was looked at may change again without showing it: its time is as
coarse as the system's clock ticks, and two seconds on some file systems."""
Stamp = tuple[tuple[str, int | None], ...]
"""Folders with their times in nanoseconds, None where there is no such folder."""


def members_of(registry: ReadableRegistry) -> Sequence[Registry]:
    """Return the registries behind one, in order; none where it is neither one nor several."""
    if isinstance(registry, Registries):
        return registry.members
    return (registry,) if isinstance(registry, Registry) else ()


def folders_of(members: Sequence[Registry], reference: Reference, version: Version) -> list[Path]:
    """Return the folders whose times change when `reference` comes to mean another version; empty: nobody knows.

    To be called before the version is looked up, with the version that was found the last time.
    """
    folders: list[Path] = []
    for member in members:
        root = member.store.root
        if root is None:
            return []
        if member.where != version.place:
            folders.append(root / layout.versions_key(reference.path))  # a registry before it would hide it
            continue
        own = root / layout.version_key(reference.path, version.version)  # where it would be yanked
        if reference.version is not None:
            return [*folders, own]
        if reference.alias:
            return [*folders, root / layout.alias_key(reference.path, reference.alias), own]
        versions = root / layout.versions_key(reference.path)
        is_highest = versions.is_dir() and all(int(path.name) <= version.version for path in versions.iterdir()
                                               if path.name.isdecimal())
        # A higher number that was claimed becomes a version without a sign in the folders above it.
        return [*folders, versions, own] if is_highest else []
    return []


def take_stamp(folders: Sequence[Path]) -> Stamp:
    """Return the folders' times now."""
    return tuple((str(folder), _time_of(str(folder))) for folder in folders)


def still_holds(stamp: Stamp) -> bool:
    """Say whether no folder changed since."""
    return bool(stamp) and all(_time_of(folder) == time_ns for folder, time_ns in stamp)


def is_settled(stamp: Stamp, now_ns: int) -> bool:
    """Say whether every folder was quiet for long enough, so that any change from now on will show."""
    return bool(stamp) and all(time_ns is None or now_ns - time_ns > _SETTLED_NS for _, time_ns in stamp)


def _time_of(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # half the time of Path.stat, for each request
    except OSError:
        return None
