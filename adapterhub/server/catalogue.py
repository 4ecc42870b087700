"""What the registry offers, as lists show it: read in a thread, kept for a few seconds."""

import asyncio
import time
from collections.abc import Callable, Sequence

from adapterhub.registry import Listing, ReadableRegistry
from adapterhub.server.tokens import Holder

_KEPT_S = 5.0


class Catalogue:
    """Listings of one registry. Used in the event loop."""

    def __init__(self, registry: ReadableRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry, self._clock = registry, clock
        self._listings: Sequence[Listing] = ()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()  # one reader at a time; the others take what it found

    async def listings(self, holder: Holder) -> list[Listing]:
        """Return the adapters that a holder may see, sorted by name. Raises StorageError."""
        async with self._lock:
            if self._clock() - self._read_at > _KEPT_S:
                self._listings = await asyncio.to_thread(self._registry.list)
                self._read_at = self._clock()
        return [listing for listing in self._listings if holder.sees(listing.path.partition("/")[0])]
