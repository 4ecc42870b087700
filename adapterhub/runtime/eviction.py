"""Who leaves when room is needed: by recency and by what coming back would cost. It holds no tensor and no lock."""

from collections.abc import Container
from dataclasses import dataclass


@dataclass(slots=True)
class _Entry:
    size_bytes: int
    cost_s: float
    worth: float


class GreedyDual:
    """Keeps what was used lately or is dear to fetch again, weighed by its size.

    Each entry's worth is the inflation at its last use plus cost / size; who has the least leaves, and its worth
    becomes the inflation, so that what is not used grows worthless. Source: Cao and Irani 1997, GreedyDual-Size, §4.1.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._inflation = 0.0
        self.size_bytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> list[str]:
        """Return all keys, the one that would leave first in front."""
        return sorted(self._entries, key=lambda key: self._entries[key].worth)

    def add(self, key: str, *, size_bytes: int, cost_s: float) -> None:
        """Enter what is now held."""
        self.remove(key)
        self._entries[key] = _Entry(size_bytes, cost_s, 0.0)
        self.size_bytes += size_bytes
        self.touch(key)

    def touch(self, key: str) -> None:
        """Count a use."""
        # Re-entered at the end: of equal worth, the least recently used leaves first.
        entry = self._entries.pop(key)
        entry.worth = self._inflation + entry.cost_s / max(1, entry.size_bytes)
        self._entries[key] = entry

    def remove(self, key: str) -> None:
        """Forget what is no longer held."""
        if entry := self._entries.pop(key, None):
            self.size_bytes -= entry.size_bytes

    def choose(self, kept: Container[str]) -> str | None:
        """Return who leaves next, none of `kept`; None where nobody may. The caller removes it."""
        free = (key for key in self._entries if key not in kept)
        victim = min(free, key=lambda key: self._entries[key].worth, default=None)
        if victim is not None:
            self._inflation = max(self._inflation, self._entries[victim].worth)
        return victim
