"""The registry as its users see it: one place of published adapters. Each method is a few lines over its own file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from adapterhub.adapter.check import BaseShapes
from adapterhub.adapter.folder import AdapterFolder, VerifiedFiles
from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.adapter.reference import Reference, parse_path, require_alias
from adapterhub.errors import InvalidReference, PromotionRefused
from adapterhub.registry import aliases as _aliases
from adapterhub.registry import gates as _gates
from adapterhub.registry import layout
from adapterhub.registry import promotion as _promotion
from adapterhub.registry import publish as _publish
from adapterhub.registry import pull as _pull
from adapterhub.registry import resolve as _resolve
from adapterhub.registry import search as _search
from adapterhub.registry import yank as _yank
from adapterhub.registry.aliases import AliasMove, Mark
from adapterhub.registry.gates import Evaluate, Limits
from adapterhub.registry.promotion import Passage
from adapterhub.registry.pull import Verification
from adapterhub.registry.records import Clock, GateRecord, utc
from adapterhub.registry.resolve import Version
from adapterhub.registry.search import Listings, Query
from adapterhub.registry.signing import SigningKey
from adapterhub.registry.stores import Store, open_store
from adapterhub.registry.trust import require_trusted

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

    def confirm(self, version: Version, folder: VerifiedFiles) -> None:
        """Refuse a version whose bytes are at hand already where `read` would refuse its signature."""

    def list(self) -> Listings:
        """Return every adapter by its latest version."""

    def search(self, query: Query) -> Listings:
        """Return the adapters that a query fits."""


@dataclass(frozen=True, slots=True)
class _SystemClock:
    def __call__(self) -> datetime:
        return datetime.now(UTC)


class Registry:
    """One place of published adapters: a path, `file://`, `s3://`, `gs://`, `az://` or `hf://` address.

    Reading never creates it; the first `publish` does. It holds no state but the place, so any number of them,
    in any number of processes, may work on one place at once.

    Example: `Registry("registry").publish(Path("intents"), "support/intents").reference`
    """

    def __init__(self, place: str | Path | Store, *, clock: Clock | None = None, by: str = "",
                 trusted: Sequence[str] = ()) -> None:
        """Open a place; `by` is who changes it.

        With `trusted`, public keys or certificates in PEM, only what one of them signed is read, pulled or verified;
        without, the registry's policy says whether it must be signed, and by whom.
        Raises UnknownName for a scheme, StorageError for its settings.
        """
        self._store = open_store(place) if isinstance(place, str | Path) else place
        self._clock = clock or _SystemClock()
        self._by = by
        self._trusted = tuple(trusted)

    @property
    def where(self) -> str:
        """The place as it was given."""
        return self._store.place

    @property
    def store(self) -> Store:
        """The objects below; for the housekeeping beside this class."""
        return self._store

    def mark(self) -> Mark:
        """Return the time now and who works here, as changes record it."""
        return Mark(at=utc(self._clock()), by=self._by)

    def publish(self, folder: str | Path, path: str, version: int | None = None, *,
                signing_key: SigningKey | None = None) -> Version:
        """Publish a folder as the next version of `namespace/name`, or as exactly `version`.

        The same content as the latest version's returns that one with `is_new` False.
        Raises InvalidReference, DataError, InvalidFolder, VersionExists, PolicyRefused, StorageError, InvalidConfig.
        """
        bare = parse_path(path).path
        return _publish.publish(self._store, bare, Path(folder), self.mark(), version=version,
                                signing_key=signing_key)

    def resolve(self, reference: str) -> Version:
        """Return the version that a reference means now. Raises InvalidReference, AdapterNotFound, InvalidFolder."""
        return _resolve.resolve(self._store, Reference.parse(reference))

    def read(self, reference: str | Version) -> AdapterFolder:
        """Return an adapter's four files, read once, every digest compared.

        Whether it fits a base is the caller's `check_folder(folder, base)`. Raises as `resolve`; InvalidFolder,
        PolicyRefused where a signature is asked for.
        """
        return _pull.read(self._store, self._version(reference), self._trusted)

    def confirm(self, version: Version, folder: VerifiedFiles) -> None:
        """Refuse a version whose bytes are at hand already where `read` would. Raises PolicyRefused."""
        require_trusted(self._store, version, folder.files[MANIFEST_FILE], self._trusted)

    def pull(self, reference: str | Version, folder: str | Path) -> AdapterFolder:
        """Copy a version into a new folder and verify it there. Raises as `read`; DataError, StorageError."""
        return _pull.pull(self._store, self._version(reference), Path(folder), self._trusted)

    def verify(self, reference: str | Version, base: BaseShapes | None = None) -> Verification:
        """Check a version's digests and structure, with `base` its fit too. Raises InvalidFolder, BaseMismatch."""
        return _pull.verify(self._store, self._version(reference), base, self._trusted)

    def promote(self, reference: str, alias: str, *, expected: int | None = None, evaluate: Evaluate | None = None,
                is_forced: bool = False) -> AliasMove:
        """Point an alias to the version that `reference` means, through its gate where it has one.

        With `expected`, the number of the alias's holding move (0 for none), another's move in between refuses it.
        A gate measures by `evaluate`; a forced move goes past it and is recorded so.
        Raises PromotionRefused (yanked, overtaken, gate), AdapterNotFound, InvalidReference.
        """
        version = self.resolve(reference)
        name = _alias_of(f"{version.path}@{alias}")
        passage = Passage(expected=expected, evaluate=evaluate, is_forced=is_forced)
        return _promotion.promote(self._store, version, name, passage, self.mark())

    def rollback(self, reference: str, *, steps: int = 1) -> AliasMove:
        """Point `namespace/name@alias` back to what it pointed to before; again goes further back, like undo.

        Raises PromotionRefused (nothing to go back to, yanked, overtaken), AdapterNotFound, InvalidReference.
        """
        moves = self.history(reference)
        goal = _aliases.rollback_target(moves, steps)
        if self.resolve(f"{goal.path}@{goal.version}").is_yanked:
            raise PromotionRefused(f"{goal.path}@{goal.version} is yanked, {goal.alias!r} cannot go back to it.",
                                   hint=f"Go back further with --steps {steps + 1}, or promote another version.")
        return _aliases.rollback(self._store, moves[-1], goal, self.mark())

    def history(self, reference: str) -> AliasMoves:
        """Return every move of `namespace/name@alias`, oldest first. Raises AdapterNotFound, InvalidReference."""
        return _aliases.history(self._store, Reference.parse(reference).path, _alias_of(reference))

    def move_at(self, reference: str, time: datetime) -> AliasMove:
        """Return the move of `namespace/name@alias` that held at a time. Raises as `history`."""
        return _aliases.move_at(self.history(reference), utc(time))

    def set_gate(self, path: str, alias: str, limits: Limits, data: str | Path) -> GateRecord:
        """Put a gate before an alias of an adapter that is here; its rows are kept beside it.

        Raises AdapterNotFound, DataError, InvalidReference, PromotionRefused (overtaken).
        """
        version = self.resolve(parse_path(path).path)
        return _gates.set_gate(self._store, version.path, require_alias(alias), limits, Path(data), self.mark())

    def open_gate(self, path: str, alias: str) -> GateRecord:
        """Take the gate before an alias away. Raises PromotionRefused where there is none."""
        return _gates.open_gate(self._store, parse_path(path).path, require_alias(alias), self.mark())

    def gates(self, path: str) -> dict[str, GateRecord]:
        """Return the gates of `namespace/name` by alias."""
        return _gates.gates(self._store, parse_path(path).path)

    def aliases(self, path: str) -> dict[str, int]:
        """Return each alias of `namespace/name` with the version it points to."""
        return _search.aliases(self._store, parse_path(path).path)

    def versions(self, path: str) -> Versions:
        """Return every version of `namespace/name`, oldest first, yanked ones too; empty where there is none."""
        return _resolve.versions(self._store, parse_path(path).path)

    def numbers(self, path: str) -> tuple[int, ...]:
        """Return the number of every version of `namespace/name`, also of one whose record is damaged."""
        bare = parse_path(path).path
        return tuple(number for number in _resolve.numbers(self._store, bare)
                     if self._store.exists(layout.file_key(bare, number, layout.VERSION_FILE)))

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
        _yank.yank(self._store, version.path, version.version, reason, self.mark())
        return self.resolve(version.reference)

    def local_path(self, reference: str | Version) -> Path | None:
        """Return a version's folder, from which stock PEFT loads; None where the registry is no local folder."""
        version = self._version(reference)
        root = self._store.root
        return root / layout.version_key(version.path, version.version) if root else None

    def _version(self, reference: str | Version) -> Version:
        return reference if isinstance(reference, Version) else self.resolve(reference)


def _alias_of(reference: str) -> str:
    alias = Reference.parse(reference).alias
    if alias is None:
        raise InvalidReference(f"{reference!r} names no alias.",
                               hint="Write namespace/name@production; `latest` and numbers are no aliases.")
    return alias
