"""How much each holder has asked for: rows per second, and rows that write at once. It knows no queue."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapterhub.server.config import Limits
from adapterhub.server.errors import TooBusy

_BURST_S = 2.0
"""A holder who was quiet may ask for this many seconds' rows at once."""


class HolderLimits:
    """Counts by holder. Used by one thread: the event loop's."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._allowance: dict[str, tuple[float, float]] = {}  # rows left, when that was so
        self._streams: Counter[str] = Counter()

    def take_rows(self, holder: str, n_rows: int) -> None:
        """Count rows, or raise TooBusy with when they would be allowed.

        A token bucket; a request with more rows than the bucket holds passes when it is full, and leaves a debt.
        """
        rate = self._limits.rows_per_s
        if not rate:
            return
        now, full = self._clock(), rate * _BURST_S
        left, at = self._allowance.get(holder, (full, now))
        left = min(full, left + (now - at) * rate)
        needed = min(n_rows, full)
        if left < needed:
            raise TooBusy(f"{n_rows} rows are more than the {rate:g} per second that are allowed.",
                          retry_after_s=(needed - left) / rate)
        self._allowance[holder] = (left - n_rows, now)

    @contextmanager
    def stream(self, holder: str, n_rows: int) -> Iterator[None]:
        """Count rows that write while the block runs. Raises TooBusy where they are too many."""
        if self._streams[holder] + n_rows > self._limits.streams:
            raise TooBusy(f"{self._streams[holder]} rows are written for this holder, {n_rows} more would be over the "
                          f"{self._limits.streams} that are allowed at once.", retry_after_s=1.0)
        self._streams[holder] += n_rows
        try:
            yield
        finally:
            self._streams[holder] -= n_rows
            if not self._streams[holder]:
                del self._streams[holder]
