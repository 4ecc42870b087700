"""The registry as its users see it: one place of published adapters. Each method is a few lines over its own file."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from adapterhub.adapter.check import BaseShapes
from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.reference import Reference, parse_path
from adapterhub.errors import InvalidReference, PromotionRefused
from adapterhub.registry import aliases as _aliases
from adapterhub.registry import layout
from adapterhub.registry import publish as _publish
from adapterhub.registry import pull as _pull
from adapterhub.registry import resolve as _resolve
from adapterhub.registry import search as _search
from adapterhub.registry import yank as _yank
from adapterhub.registry.aliases import AliasMove, Target
from adapterhub.registry.pull import Verification
from adapterhub.registry.records import Clock, utc
from adapterhub.registry.resolve import Version
from adapterhub.registry.search import Listings, Query
from adapterhub.registry.stores import Store, open_store

Versions = list[Version]
AliasMoves = list[AliasMove]


class ReadableRegistry(Protocol):
    """What the runtime and the command line need to read; one registry, or several in a row."""

    @property
    def where(self) -> str:
        """Say where it is, for people."""

    def resolve(self, reference: str) -> Version:
        """Return the version that a reference means now."""

    def read(self, reference: str | Version) -> AdapterFolder:
        """Return an adapter's bytes with every digest compared."""

    def list(self) -> Listings:
        """Return every adapter by its latest version."""

    def search(self, query: Query) -> Listings:
        """Return the adapters that a query fits."""


@dataclass(frozen=True, slots=True)
class _SystemClock:
    def __call__(self) -> datetime:
        return datetime.now(UTC)


class Registry:
    """One place of published adapters: a path, `file://`, `s3://`, `gs://` or `az://` address.

    Reading never creates it; the first `publish` does. It holds no state but the place, so any number of them,
    in any number of processes, may work on one place at once.

    Example: `Registry("registry").publish(Path("intents"), "support/intents").reference`
    """

    def __init__(self, place: str | Path | Store, *, clock: Clock | None = None) -> None:
        """Open a place; raises UnknownName for an unknown scheme, StorageError for unusable settings."""
        self._store = open_store(place) if isinstance(place, str | Path) else place
        self._clock = clock or _SystemClock()

    @property
    def where(self) -> str:
        """The place as it was given."""
        return self._store.place

    def publish(self, folder: str | Path, path: str, version: int | None = None) -> Version:
        """Publish a folder as the next version of `namespace/name`, or as exactly `version`.

        The same content as the latest version's returns that one with `is_new` False.
        Raises InvalidReference, DataError, InvalidFolder, VersionExists, StorageError.
        """
        bare = parse_path(path).path
        return _publish.publish(self._store, bare, Path(folder), at=self._now(), version=version)

    def resolve(self, reference: str) -> Version:
        """Return the version that a reference means now. Raises InvalidReference, AdapterNotFound, InvalidFolder."""
        return _resolve.resolve(self._store, Reference.parse(reference))

    def read(self, reference: str | Version) -> AdapterFolder:
        """Return an adapter's four files, read once, every digest compared.

        Whether it fits a base is the caller's `check_folder(folder, base)`. Raises as `resolve`; InvalidFolder.
        """
        return _pull.read(self._store, self._version(reference))

    def pull(self, reference: str | Version, folder: str | Path) -> AdapterFolder:
        """Copy a version into a new folder and verify it there. Raises as `read`; DataError, StorageError."""
        return _pull.pull(self._store, self._version(reference), Path(folder))

    def verify(self, reference: str | Version, base: BaseShapes | None = None) -> Verification:
        """Check a version's digests and structure, with `base` its fit too. Raises InvalidFolder, BaseMismatch."""
        return _pull.verify(self._store, self._version(reference), base)

    def promote(self, reference: str, alias: str, *, expected: int | None = None) -> AliasMove:
        """Point an alias to the version that `reference` means.

        With `expected`, the number of the alias's holding move (0 for none), another's move in between refuses it.
        Raises PromotionRefused (yanked, overtaken), AdapterNotFound, InvalidReference.
        """
        version = self.resolve(reference)
        if version.is_yanked:
            raise PromotionRefused(f"{version.reference} is yanked, {alias!r} cannot point to it.",
                                   hint=f"Promote another version of {version.path}.")
        name = _alias_of(f"{version.path}@{alias}")
        target = Target(version=version.version, digest=version.digest)
        return _aliases.promote(self._store, version.path, name, target, at=self._now(), expected=expected)

    def rollback(self, reference: str, *, steps: int = 1) -> AliasMove:
        """Point `namespace/name@alias` back to what it pointed to before; again goes further back, like undo.

        Raises PromotionRefused (nothing to go back to, yanked, overtaken), AdapterNotFound, InvalidReference.
        """
        moves = self.history(reference)
        goal = _aliases.rollback_target(moves, steps)
        if self.resolve(f"{goal.path}@{goal.version}").is_yanked:
            raise PromotionRefused(f"{goal.path}@{goal.version} is yanked, {goal.alias!r} cannot go back to it.",
                                   hint=f"Go back further with --steps {steps + 1}, or promote another version.")
        return _aliases.rollback(self._store, moves[-1], goal, at=self._now())

    def history(self, reference: str) -> AliasMoves:
        """Return every move of `namespace/name@alias`, oldest first. Raises AdapterNotFound, InvalidReference."""
        return _aliases.history(self._store, Reference.parse(reference).path, _alias_of(reference))

    def aliases(self, path: str) -> dict[str, int]:
        """Return each alias of `namespace/name` with the version it points to."""
        return _search.aliases(self._store, parse_path(path).path)

    def versions(self, path: str) -> Versions:
        """Return every version of `namespace/name`, oldest first, yanked ones too; empty where there is none."""
        return _resolve.versions(self._store, parse_path(path).path)

    def paths(self) -> tuple[str, ...]:
        """Return every `namespace/name` that has a version, sorted."""
        return tuple(path for path in _resolve.paths(self._store) if _resolve.has_adapter(self._store, path))

    def has(self, path: str) -> bool:
        """Say whether `namespace/name` has any version here, yanked or not."""
        return _resolve.has_adapter(self._store, parse_path(path).path)

    def list(self) -> Listings:
        """Return every adapter by its latest version, sorted by name."""
        return _search.list_adapters(self._store)

    def search(self, query: Query) -> Listings:
        """Return the adapters that a query fits, sorted by name."""
        return _search.search(self._store, query)

    def yank(self, reference: str, reason: str) -> Version:
        """Mark a version as not to be taken any more: `@latest` skips it. Raises AdapterNotFound."""
        version = self.resolve(reference)
        _yank.yank(self._store, version.path, version.version, reason=reason, at=self._now())
        return self.resolve(version.reference)

    def local_path(self, reference: str | Version) -> Path | None:
        """Return a version's folder, from which stock PEFT loads; None where the registry is no local folder."""
        version = self._version(reference)
        root = self._store.root
        return root / layout.version_key(version.path, version.version) if root else None

    def _version(self, reference: str | Version) -> Version:
        return reference if isinstance(reference, Version) else self.resolve(reference)

    def _now(self) -> str:
        return utc(self._clock())


def _alias_of(reference: str) -> str:
    alias = Reference.parse(reference).alias
    if alias is None:
        raise InvalidReference(f"{reference!r} names no alias.",
                               hint="Write namespace/name@production; `latest` and numbers are no aliases.")
    return alias
