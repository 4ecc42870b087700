"""What waits for a pass, in fair turns: holders take turns, and within a holder adapters do. It computes nothing."""

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

AskedRow = tuple[str | None, Any]
"""(pinned reference or None for the bare base, row), as `Runtime.submit` takes it."""


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """Rows that are asked together and computed in one batch."""

    holder: str
    lane: str
    """What takes turns within the holder: the first row's adapter."""
    rows: Sequence[AskedRow]
    n_tokens: int
    """About so many."""
    is_truncated: bool
    enqueued_at: float
    """Seconds of a monotonic clock."""
    deadline: float
    """On the same clock."""
    trace: Any = None
    """The request's RequestTrace, where traces are made."""
    is_withdrawn: bool = False
    pending: Any = None
    """The runtime's PendingRows, once a worker has submitted it."""
    done: Any = None
    """What the caller waits for: an asyncio future of one answer or failure for each row."""


@dataclass(slots=True)
class FairQueue:
    """Tickets by holder and lane. Not thread-safe."""

    n_rows: int = 0
    n_tokens: int = 0
    rows_of_holder: Counter[str] = field(default_factory=Counter)
    _holders: "OrderedDict[str, OrderedDict[str, deque[Ticket]]]" = field(default_factory=OrderedDict)

    def put(self, ticket: Ticket) -> None:
        """Add a ticket at the end of its lane."""
        lanes = self._holders.setdefault(ticket.holder, OrderedDict())
        lanes.setdefault(ticket.lane, deque()).append(ticket)
        self._count(ticket, 1)

    def withdraw(self, ticket: Ticket) -> None:
        """Let a waiting ticket count no more; it is passed over when its turn comes."""
        ticket.is_withdrawn = True
        self._count(ticket, -1)
        ticket.rows = ()  # what nobody waits for takes no memory until its turn

    def take(self, n_tokens: int) -> list[Ticket]:
        """Return tickets of about so many tokens in fair turns, at least one where any waits."""
        taken: list[Ticket] = []
        total = 0
        while self._holders and (not taken or total < n_tokens):
            ticket = self._next()
            if ticket is not None:
                self._count(ticket, -1)
                taken.append(ticket)
                total += ticket.n_tokens
        return taken

    def oldest_at(self) -> float | None:
        """Return since when the oldest ticket waits; None where none does."""
        firsts = [lane[0].enqueued_at for lanes in self._holders.values() for lane in lanes.values() if lane]
        return min(firsts, default=None)

    def _next(self) -> Ticket | None:
        """Return the next ticket, None for one that was withdrawn; whoever had a turn goes to the end."""
        holder, lanes = self._holders.popitem(last=False)
        name, lane = lanes.popitem(last=False)
        ticket = lane.popleft()
        if lane:
            lanes[name] = lane
        if lanes:
            self._holders[holder] = lanes
        return None if ticket.is_withdrawn else ticket

    def _count(self, ticket: Ticket, sign: int) -> None:
        n_rows = len(ticket.rows) * sign
        self.n_rows += n_rows
        self.n_tokens += ticket.n_tokens * sign
        self.rows_of_holder[ticket.holder] += n_rows
        if not self.rows_of_holder[ticket.holder]:
            del self.rows_of_holder[ticket.holder]
