"""Which waiting rows go into the next pass: the old first, then those whose adapter is at hand. It computes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adapterhub.registry import Version
from adapterhub.tasks.task import Example


@dataclass(slots=True, eq=False)
class WaitingRow:
    """One row on its way through the runtime."""

    number: int
    """Its place among the rows that were asked together, from 1."""
    reference: str | None
    version: Version | None
    """None: the bare base."""
    row: Any
    enqueued_at: float
    """Seconds of a monotonic clock."""
    is_truncated: bool
    """Whether a text that is too long is cut instead of refused."""
    deadline: float | None = None
    """On the same clock: a pass that would begin later leaves the row out; None: it waits as long as it takes."""
    example: Example | None = None
    is_taken: bool = False
    """Whether a pass has begun with it, so that it cannot be cancelled."""
    answer: Any = None
    """Set when the row is done: an Answer or a Failure."""
    digest: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.digest = self.version.digest if self.version else ""

    @property
    def name(self) -> str:
        """How a fault names it: `Row 3 for support/intents`."""
        return f"Row {self.number}" + (f" for {self.reference}" if self.reference else "")

    @property
    def is_done(self) -> bool:
        """Whether it was answered, or failed."""
        return self.answer is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLimits:
    """What one pass may hold."""

    n_rows: int
    max_age_s: float
    may_fit: Callable[[set[str]], bool]
    """Whether these adapters may be resident together."""


def next_rows(waiting: list[WaitingRow], *, now: float, is_resident: Callable[[str], bool],
              is_ready: Callable[[str], bool], limits: PassLimits) -> list[WaitingRow]:
    """Return the rows of the next pass, oldest first.

    Rows older than `max_age_s` go first by age, so that no stream of rows for one adapter starves another; then rows
    whose adapter is resident, then those whose files are at hand, then the others. `waiting` is oldest first.
    """
    def rank(row: WaitingRow) -> int:
        if now - row.enqueued_at > limits.max_age_s:
            return 0
        if not row.digest or is_resident(row.digest):
            return 1
        return 2 if is_ready(row.digest) else 3

    ranks = {id(row): rank(row) for row in waiting}
    chosen: set[int] = set()
    digests: set[str] = set()
    for row in sorted(waiting, key=lambda row: ranks[id(row)]):  # stable: by age within a rank
        if len(chosen) >= limits.n_rows or (ranks[id(row)] == 3 and chosen):
            break
        wanted = {*digests, row.digest} - {""}
        # The first is taken though every slot be pinned: loading then says that there is no room.
        if wanted <= digests or limits.may_fit(wanted) or not chosen:
            digests = wanted
            chosen.add(id(row))
    return [row for row in waiting if id(row) in chosen]
