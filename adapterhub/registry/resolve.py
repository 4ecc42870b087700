"""From a reference to one version: latest, number, alias or digest. It reads no adapter file."""

from dataclasses import dataclass
from typing import Protocol

from adapterhub.adapter.reference import LATEST, Reference
from adapterhub.errors import AdapterNotFound, InvalidFolder, InvalidReference, VersionYanked, near_misses
from adapterhub.registry import layout
from adapterhub.registry.aliases import alias_names, current_move
from adapterhub.registry.records import VersionRecord, parse_record
from adapterhub.registry.stores import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One published version of one adapter."""

    path: str
    """`namespace/name`."""
    version: int
    """From 1; 0 for a folder that is not published, whose `path` is its path."""
    digest: str
    """SHA-256 of its manifest, 64 hex digits."""
    size_bytes: int
    """Of its four files."""
    published_at: str
    """UTC, ISO 8601."""
    is_yanked: bool
    place: str
    """The registry that holds it."""
    published_by: str = ""
    """Empty where nobody said."""
    is_new: bool = False
    """Whether the call that returned this record published it."""

    @property
    def reference(self) -> str:
        """`namespace/name@3`; a folder's path where it is not published."""
        return f"{self.path}@{self.version}" if self.version else self.path

    @property
    def pinned(self) -> str:
        """`namespace/name@sha256:...`, which can never mean other bytes."""
        return f"{self.path}@sha256:{self.digest}"


class Resolver(Protocol):
    """A registry, as far as a reference needs it."""

    def resolve(self, reference: str) -> Version:
        """Return the version that a reference means now."""


def resolve(store: Store, reference: Reference) -> Version:
    """Return the version that a reference means now.

    `@latest` skips yanked versions; a number, an alias or a digest still finds them, marked `is_yanked`.
    Raises AdapterNotFound with near misses; InvalidReference for an ambiguous digest; InvalidFolder for a damaged
    record.
    """
    if reference.version is not None:
        found = read_version(store, reference.path, reference.version)
    elif reference.alias is not None:
        found = _by_alias(store, reference)
    elif reference.digest is not None:
        found = _by_digest(store, reference)
    else:
        found = latest(store, reference.path)
    if found is None:
        raise _not_found(store, reference)
    return found


def resolve_served(registry: Resolver, reference: str) -> Version:
    """Return the version that a reference means, to be answered with.

    Raises VersionYanked where it is yanked and not asked for by its digest; else as `resolve`.
    """
    version = registry.resolve(reference)
    if version.is_yanked and "@sha256:" not in reference:
        raise VersionYanked(version.reference, reference, version.pinned)
    return version


def latest(store: Store, path: str) -> Version | None:
    """Return the highest version that is not yanked, None where there is none."""
    for number in reversed(numbers(store, path)):
        if not _is_yanked(store, path, number) and (version := _read(store, path, number, is_yanked=False)):
            return version
    return None


def versions(store: Store, path: str) -> list[Version]:
    """Return every version of `namespace/name`, oldest first."""
    found = (read_version(store, path, number) for number in numbers(store, path))
    return [version for version in found if version]


def read_version(store: Store, path: str, number: int) -> Version | None:
    """Return one version, None where its version.json is absent. Raises InvalidFolder where that is damaged."""
    return _read(store, path, number, is_yanked=None)


def _read(store: Store, path: str, number: int, *, is_yanked: bool | None) -> Version | None:
    key = layout.file_key(path, number, layout.VERSION_FILE)
    data = store.get(key)
    if data is None:
        return None
    if is_yanked is None:
        is_yanked = _is_yanked(store, path, number)
    record = parse_record(VersionRecord, data, key)
    if record.version != number:
        raise InvalidFolder(key, [f"it is version {record.version}'s, copied to {number}"])
    return Version(path=path, version=number, digest=record.digest, size_bytes=record.size_bytes,
                   published_at=record.published_at, is_yanked=is_yanked, place=store.place,
                   published_by=record.by)


def numbers(store: Store, path: str) -> list[int]:
    """Return all version numbers that are taken, in order; not all of them need to have become versions."""
    found = map(layout.number_of, store.folders(layout.versions_key(path)))
    return sorted(number for number in found if number)


def paths(store: Store) -> list[str]:
    """Return every `namespace/name` that has a folder, sorted."""
    namespaces = [name for name in store.folders("") if layout.is_path(f"{name}/x")]
    found = (f"{namespace}/{name}" for namespace in namespaces for name in store.folders(namespace))
    return [path for path in found if layout.is_path(path)]


def has_adapter(store: Store, path: str) -> bool:
    """Say whether `namespace/name` has any version, yanked or not."""
    return any(store.exists(layout.file_key(path, number, layout.VERSION_FILE)) for number in numbers(store, path))


def _by_alias(store: Store, reference: Reference) -> Version | None:
    assert reference.alias is not None, "only called with an alias"
    move = current_move(store, reference.path, reference.alias)
    if move is None:
        return None
    found = read_version(store, reference.path, move.version)
    if found and found.digest != move.digest:
        raise InvalidFolder(str(reference), [f"the alias means digest {move.digest[:12]}, "
                                             f"version {move.version} has {found.digest[:12]}"])
    return found


def _by_digest(store: Store, reference: Reference) -> Version | None:
    assert reference.digest is not None, "only called with a digest"
    matching = [version for version in versions(store, reference.path) if version.digest.startswith(reference.digest)]
    if len({version.digest for version in matching}) > 1:
        several = ", ".join(f"{version.version} ({version.digest[:16]})" for version in matching)
        raise InvalidReference(f"{str(reference)!r} is ambiguous: versions {several} begin so.",
                               hint="Give more digits of the digest.")
    return max(matching, key=lambda version: (not version.is_yanked, version.version), default=None)


def _is_yanked(store: Store, path: str, number: int) -> bool:
    return store.exists(layout.file_key(path, number, layout.YANKED_FILE))


def _not_found(store: Store, reference: Reference) -> AdapterNotFound:
    path, known = reference.path, versions(store, reference.path)
    if not known:
        return AdapterNotFound(str(reference), where=store.place, near=similar_paths(path, paths(store)))
    by_number = [version.reference for version in known]
    if reference.alias:
        names = alias_names(store, path)
        near = [f"{path}@{name}" for name in near_misses(reference.alias, [*names, LATEST])]
        why = f"its aliases are {', '.join(names)}" if names else "it has no alias"
    elif reference.version is not None or reference.digest:
        near, why = by_number[-3:], f"its highest version is {known[-1].version}"
    else:
        near, why = [], "every version of it is yanked"
    return AdapterNotFound(str(reference), where=store.place, near=near or by_number[-1:], why=why)


def similar_paths(path: str, known: list[str]) -> list[str]:
    """Return known adapters that look like `path`, those of the same name in another namespace first."""
    name = path.partition("/")[2]
    same_name = [other for other in known if other.endswith(f"/{name}")]
    return list(dict.fromkeys([*same_name, *near_misses(path, known)]))[:3]
