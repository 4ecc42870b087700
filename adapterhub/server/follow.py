"""Which version each reference means, kept fresh: an alias that moves is noticed, its new version tried, then taken.

A version that cannot be loaded leaves the one before it serving. It computes nothing and knows no HTTP.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from adapterhub.adapter.folder import AdapterFolder, VerifiedFiles
from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterHubError, StorageError
from adapterhub.registry import Query, ReadableRegistry, Version, resolve_served
from adapterhub.registry.search import Listings
from adapterhub.server.stamps import Stamp, folders_of, is_settled, members_of, still_holds, take_stamp

RETRY_S = 10.0
"""A version that could not be loaded is tried again after this."""
_KEPT = 20_000
"""References that are remembered; past it the one asked for longest ago is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowProblem:
    """A version that should serve and cannot."""

    reference: str
    wanted: str | None
    """`namespace/name@4`; None where the registry could not be asked."""
    serving: str
    """`namespace/name@3`."""
    kind: str
    message: str
    since: str
    """UTC, ISO 8601."""


@dataclass(slots=True)
class _Followed:
    """One reference and what it means."""

    reference: Reference
    version: Version
    looked_at: float
    asked_at: float
    stamp: Stamp = ()
    failed: str = ""
    """Digest of a version that could not be loaded."""
    failed_at: float = 0.0
    problem: FollowProblem | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is looked up."""


class Follower:
    """References in use and their versions. Thread-safe; `look` may wait for the registry, `known` never does."""

    def __init__(self, registry: ReadableRegistry, *, follow_s: float, load: Callable[[Version], object],
                 fetch: Callable[[Version], object], tell: Callable[[FollowProblem], object],
                 switched: Callable[[str, Version], object] = lambda *_: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """`load` has a version in its slot, `fetch` at least its files at hand; either raises what is wrong with it.

        `switched` is told of a reference and the version that serves for it from now on.
        """
        self._registry, self._follow_s, self._clock = registry, follow_s, clock
        self._members = members_of(registry)
        self._load, self._fetch, self._tell, self._switched = load, fetch, tell, switched
        self._followed: dict[str, _Followed] = {}
        self._lock = threading.Lock()  # guards the table above
        self.n_switches = 0

    def known(self, reference: str) -> Version | None:
        """Return what a reference means, where that was looked up a moment ago or cannot have changed."""
        followed = self._followed.get(reference)
        if followed is None:
            return None
        followed.asked_at = now = self._clock()
        if not _can_move(followed.reference) or now - followed.looked_at <= self._follow_s:
            return followed.version
        if followed.problem is None and still_holds(followed.stamp):
            followed.looked_at = now
            return followed.version
        return None

    def look(self, reference: str) -> Version:
        """Look up what a reference means, and return the version that serves.

        A version that is new here and cannot be loaded leaves the one before; so does a registry that does not answer.
        Raises InvalidReference, AdapterNotFound, VersionYanked, InvalidFolder, StorageError.
        """
        followed = self._followed.get(reference)
        if followed is None:
            return self._begin(reference)
        with followed.lock:
            if self._clock() - followed.looked_at > self._follow_s / 2:  # else another thread has just looked
                self._look_again(reference, followed)
            return followed.version

    def stale(self, *, n_most: int, idle_s: float) -> list[str]:
        """Return references in use that should be looked up now, those asked for last in front."""
        now = self._clock()
        with self._lock:
            found = [(followed.asked_at, name) for name, followed in self._followed.items()
                     if _can_move(followed.reference) and now - followed.asked_at < idle_s
                     and now - followed.looked_at > self._follow_s / 2]
        return [name for _, name in sorted(found, reverse=True)[:n_most]]

    def renew(self, reference: str) -> bool:
        """Say whether a reference surely means what it did, without asking the registry."""
        followed = self._followed.get(reference)
        if followed is None or followed.problem is not None or not still_holds(followed.stamp):
            return False
        followed.looked_at = self._clock()
        return True

    def problems(self) -> list[FollowProblem]:
        """Return the versions that should serve and cannot."""
        with self._lock:
            return [followed.problem for followed in self._followed.values() if followed.problem]

    def _begin(self, reference: str) -> Version:
        parsed = Reference.parse(reference)
        version = resolve_served(self._registry, reference)
        self._fetch(version)
        now = self._clock()
        followed = _Followed(parsed, version, looked_at=now, asked_at=now)
        with self._lock:
            if len(self._followed) >= _KEPT:
                oldest = min(self._followed, key=lambda name: self._followed[name].asked_at)
                del self._followed[oldest]
            self._followed[reference] = followed
        return version

    def _look_again(self, reference: str, followed: _Followed) -> None:
        stamp = take_stamp(folders_of(self._members, followed.reference, followed.version))
        taken_at = time.time_ns()
        try:
            found = resolve_served(self._registry, reference)
        except StorageError as error:
            self._refuse(reference, followed, None, error)
            return
        if found.digest != followed.version.digest:
            if not self._take_over(reference, followed, found):
                return
        elif found.version != followed.version.version:
            followed.version = found  # the same bytes under another number
        followed.problem = None
        followed.stamp = stamp if is_settled(stamp, taken_at) and found.place == followed.version.place else ()
        followed.looked_at = self._clock()

    def _take_over(self, reference: str, followed: _Followed, found: Version) -> bool:
        """Load a new version, and only then let it serve."""
        now = self._clock()
        if followed.failed == found.digest and now - followed.failed_at < RETRY_S:
            followed.looked_at = now
            return False
        try:
            self._fetch(found)
            self._load(found)
        except AdapterHubError as error:
            followed.failed, followed.failed_at = found.digest, now
            self._refuse(reference, followed, found, error)
            return False
        followed.version, followed.failed = found, ""
        self.n_switches += 1
        self._switched(reference, found)
        return True

    def _refuse(self, reference: str, followed: _Followed, wanted: Version | None, error: AdapterHubError) -> None:
        followed.looked_at, followed.stamp = self._clock(), ()
        known = followed.problem
        is_new = known is None or known.wanted != (wanted.reference if wanted else None)
        since = datetime.now(UTC).isoformat(timespec="seconds") if is_new or known is None else known.since
        followed.problem = FollowProblem(reference=reference, wanted=wanted.reference if wanted else None,
                                         serving=followed.version.reference, kind=type(error).__name__,
                                         message=error.message, since=since)
        if is_new:
            self._tell(followed.problem)


@dataclass(frozen=True, slots=True)
class PinnedVersions:
    """A registry to which `namespace/name@sha256:<64 digits>` of a version that was seen costs nothing.

    So the runtime, which is asked by digest alone, does not look up what the follower has just looked up.
    """

    registry: ReadableRegistry
    seen: dict[str, Version] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The registry's place."""
        return self.registry.where

    def keep(self, version: Version) -> str:
        """Remember a version and return the reference that is free from now on."""
        pinned = version.pinned
        if pinned not in self.seen:
            while len(self.seen) >= _KEPT:
                self.seen.pop(next(iter(self.seen)), None)
            self.seen[pinned] = version
        return pinned

    def resolve(self, reference: str) -> Version:
        """Return a version as `Registry.resolve`."""
        return self.seen.get(reference) or self.registry.resolve(reference)

    def read(self, reference: str | Version) -> AdapterFolder:
        """Return an adapter's files as `Registry.read`."""
        return self.registry.read(reference)

    def confirm(self, version: Version, folder: VerifiedFiles) -> None:
        """Refuse a version's signature as `Registry.confirm`."""
        self.registry.confirm(version, folder)

    def list(self) -> Listings:
        """Return every adapter."""
        return self.registry.list()

    def search(self, query: Query) -> Listings:
        """Return the adapters that a query fits."""
        return self.registry.search(query)


def _can_move(reference: Reference) -> bool:
    """Say whether a reference may come to mean another version, or a yanked one: not where it names a digest."""
    return reference.digest is None
