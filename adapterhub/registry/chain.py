"""Several registries read as one: the user's own first, then the shipped one. Writes go to the first."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from adapterhub.adapter.check import BaseShapes
from adapterhub.adapter.folder import AdapterFolder, VerifiedFiles
from adapterhub.adapter.reference import Reference, parse_path
from adapterhub.errors import AdapterNotFound, StorageError
from adapterhub.registry.aliases import AliasMove
from adapterhub.registry.gates import Evaluate
from adapterhub.registry.pull import Verification
from adapterhub.registry.records import Clock
from adapterhub.registry.registry import AliasMoves, Registry, Versions
from adapterhub.registry.resolve import Version, similar_paths
from adapterhub.registry.search import Listing, Listings, Query
from adapterhub.registry.signing import SigningKey
from adapterhub.settings import Settings


def open_registries(settings: Settings, *, clock: Clock | None = None, by: str = "",
                    trusted: Sequence[str] = ()) -> "Registries":
    """Open the user's registry and, behind it, the shipped one where there is one."""
    own, shipped = Registry(settings.registry, clock=clock, by=by, trusted=trusted), settings.shipped_registry
    if shipped is None or Path(settings.registry).absolute() == shipped.absolute():
        return Registries(own)
    return Registries(own, Registry(shipped, clock=clock, trusted=trusted))


class Registries:
    """Registries in order. The first that has any version of `namespace/name` answers for that name.

    So a name never means one registry's version 1 and another's version 2; a digest is looked for in all of them.
    """

    def __init__(self, own: Registry, *others: Registry) -> None:
        self.own = own
        """Where everything is written."""
        self._all = (own, *others)

    @property
    def members(self) -> tuple[Registry, ...]:
        """The registries, in order."""
        return self._all

    @property
    def where(self) -> str:
        """The places, in order."""
        return " and ".join(registry.where for registry in self._all)

    def resolve(self, reference: str) -> Version:
        """Return the version that a reference means now. Raises as `Registry.resolve`."""
        return self._holder(reference).resolve(reference)

    def read(self, reference: str | Version) -> AdapterFolder:
        """Return an adapter's four files with every digest compared. Raises as `Registry.read`."""
        return self._holder(reference).read(reference)

    def confirm(self, version: Version, folder: VerifiedFiles) -> None:
        """Refuse a version whose signature `read` would refuse. Raises as `Registry.confirm`."""
        self._holder(version).confirm(version, folder)

    def pull(self, reference: str | Version, folder: str | Path) -> AdapterFolder:
        """Copy a version into a new folder and verify it there. Raises as `Registry.pull`."""
        return self._holder(reference).pull(reference, folder)

    def verify(self, reference: str | Version, base: BaseShapes | None = None) -> Verification:
        """Check a version. Raises as `Registry.verify`."""
        return self._holder(reference).verify(reference, base)

    def history(self, reference: str) -> AliasMoves:
        """Return every move of `namespace/name@alias`. Raises as `Registry.history`."""
        return self._holder(reference).history(reference)

    def move_at(self, reference: str, time: datetime) -> AliasMove:
        """Return the move of `namespace/name@alias` that held at a time. Raises as `Registry.history`."""
        return self._holder(reference).move_at(reference, time)

    def aliases(self, path: str) -> dict[str, int]:
        """Return each alias of `namespace/name` with the version it points to."""
        return self._holder(parse_path(path).path).aliases(path)

    def versions(self, path: str) -> Versions:
        """Return every version of `namespace/name`, oldest first. Raises AdapterNotFound where no registry has it."""
        return self._holder(parse_path(path).path).versions(path)

    def local_path(self, reference: str | Version) -> Path | None:
        """Return a version's folder; None where it lies in a bucket. Raises as `Registry.resolve`."""
        return self._holder(reference).local_path(reference)

    def list(self) -> Listings:
        """Return every adapter by its latest version, sorted by name; the first registry's hides its namesakes."""
        return self._merged(Registry.list)

    def search(self, query: Query) -> Listings:
        """Return the adapters that a query fits, sorted by name."""
        return self._merged(lambda registry: registry.search(query))

    def publish(self, folder: str | Path, path: str, version: int | None = None, *,
                signing_key: SigningKey | None = None) -> Version:
        """Publish into the first registry. Raises as `Registry.publish`."""
        return self.own.publish(folder, path, version, signing_key=signing_key)

    def promote(self, reference: str, alias: str, *, expected: int | None = None, evaluate: Evaluate | None = None,
                is_forced: bool = False) -> AliasMove:
        """Move an alias in the first registry. Raises as `Registry.promote`; StorageError for another's adapter."""
        with self._only_own(reference):
            return self.own.promote(reference, alias, expected=expected, evaluate=evaluate, is_forced=is_forced)

    def rollback(self, reference: str, *, steps: int = 1) -> AliasMove:
        """Move an alias back in the first registry. Raises as `Registry.rollback`; StorageError."""
        with self._only_own(reference):
            return self.own.rollback(reference, steps=steps)

    def yank(self, reference: str, reason: str) -> Version:
        """Yank a version of the first registry. Raises as `Registry.yank`; StorageError."""
        with self._only_own(reference):
            return self.own.yank(reference, reason)

    @contextmanager
    def _only_own(self, reference: str) -> Iterator[None]:
        """Say of an adapter that only a registry behind the first has, that it cannot be changed there."""
        try:
            yield
        except AdapterNotFound as error:
            path = Reference.parse(reference).path
            holder = next((registry for registry in self._all if registry.versions(path)), self.own)
            if holder is self.own:
                raise
            raise StorageError(f"{reference} lies in {holder.where}, which is only read from.",
                               hint=f"Pull it, publish it to {self.own.where}, and go on there.") from error

    def _holder(self, reference: str | Version) -> Registry:
        if isinstance(reference, Version):
            return next(registry for registry in self._all if registry.where == reference.place)
        wanted = Reference.parse(reference)
        holders = [registry for registry in self._all if registry.has(wanted.path)]
        if wanted.digest:
            holders = [registry for registry in holders if _has_version(registry, reference)] or holders
        if holders:
            return holders[0]
        near = similar_paths(wanted.path, sorted({path for registry in self._all for path in registry.paths()}))
        raise AdapterNotFound(reference, where=self.where, near=near)

    def _merged(self, ask: Callable[[Registry], Listings]) -> Listings:
        shown: dict[str, Listing] = {}
        hidden: set[str] = set()
        for registry in self._all:
            shown |= {listing.path: listing for listing in ask(registry) if listing.path not in hidden}
            hidden.update(registry.paths())
        return [shown[path] for path in sorted(shown)]


def _has_version(registry: Registry, reference: str) -> bool:
    try:
        registry.resolve(reference)
    except AdapterNotFound:
        return False
    return True
