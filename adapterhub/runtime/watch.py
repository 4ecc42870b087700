"""When an adapter was loaded and when a pass ran, for whoever wants to know: traces do. It keeps nothing."""

from collections.abc import Callable
from dataclasses import dataclass

LOAD, FORWARD = "load", "forward"


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that took its time."""

    what: str
    """LOAD or FORWARD."""
    started_at: float
    """Seconds of a monotonic clock."""
    ended_at: float
    digest: str = ""
    """Of the adapter that was loaded."""
    n_rows: int = 0
    """Of the pass."""


Watch = Callable[[Moment], object]
"""Called in the thread that computes, under its lock: it must not wait."""
