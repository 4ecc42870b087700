"""Adapters that are loaded ahead, pinned or unloaded by hand. A pin follows its reference to newer versions."""

import threading
from dataclasses import dataclass, field

from adapterhub.registry import Version
from adapterhub.runtime.engine import Runtime
from adapterhub.runtime.generation.engine import Generator
from adapterhub.server.errors import Conflict
from adapterhub.server.follow import PinnedVersions


@dataclass(slots=True)
class Residents:
    """What is in slots by somebody's wish. Thread-safe; each call may wait for a pass."""

    runtime: Runtime | None
    generator: Generator | None
    registry: PinnedVersions
    _pins: dict[str, Version] = field(default_factory=dict)
    """Reference -> the version that is pinned for it."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    """Guards the pins, and holds while one changes."""

    def load(self, version: Version) -> None:
        """Have a version in its slot. Raises as `Runtime.load`."""
        pinned = self.registry.keep(version)
        if self.generator is not None:
            self.generator.load(pinned)
        else:
            self._slots.load(pinned)

    def fetch(self, version: Version) -> None:
        """Have a version's files at hand. Raises as `Runtime.fetch`; a generator fetches while a row waits."""
        pinned = self.registry.keep(version)
        if self.runtime is not None:
            self.runtime.fetch(pinned)

    def pin(self, reference: str, version: Version) -> None:
        """Keep what a reference means resident. Raises as `Runtime.load`."""
        with self._lock:
            before = self._pins.get(reference)
            if before is not None and before.digest == version.digest:
                return
            self._slots.pin(self.registry.keep(version))
            if before is not None:
                self._slots.unpin(self.registry.keep(before))
            self._pins[reference] = version

    def unpin(self, reference: str) -> Version:
        """Let it leave again when room is needed, and return it. Raises Conflict where it is not pinned."""
        with self._lock:
            version = self._pins.pop(reference, None)
            if version is None:
                raise Conflict(f"{reference} is not pinned.", hint="Name it as it was pinned.")
            self._slots.unpin(self.registry.keep(version))
            return version

    def unload(self, version: Version) -> None:
        """Free its slot now. Raises Conflict where it is pinned."""
        with self._lock:
            if any(pinned.digest == version.digest for pinned in self._pins.values()):
                raise Conflict(f"{version.reference} is pinned.", hint="Unpin it first.")
            self._slots.unload(self.registry.keep(version))

    def follow(self, reference: str, version: Version) -> None:
        """Move a pin to the version that serves for its reference from now on."""
        with self._lock:
            if reference in self._pins:
                self.pin(reference, version)

    def pins(self) -> dict[str, Version]:
        """Return each pinned reference and its version."""
        with self._lock:
            return dict(self._pins)

    def digests(self) -> set[str]:
        """Return what is in slots."""
        return set(self.runtime.resident_digests()) if self.runtime is not None else set()

    @property
    def _slots(self) -> Runtime:
        """What can be pinned and unloaded by hand. Raises Conflict for a base that writes."""
        if self.runtime is None:
            raise Conflict("Adapters of a base that writes are not pinned or unloaded by hand.",
                           hint="They come and go with their rows.")
        return self.runtime
