"""Requests of all adapters gather for a moment and are computed together, in one thread. It knows no HTTP."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adapterhub.errors import AdapterHubError, Cancelled, DeadlinePassed
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.engine import Runtime
from adapterhub.runtime.watch import FORWARD, LOAD, Moment
from adapterhub.server.config import ServerConfig
from adapterhub.server.errors import InternalFault, TooBusy
from adapterhub.server.fair_queue import FairQueue, Ticket
from adapterhub.server.tokens import ANYBODY
from adapterhub.server.worker import Worker

_SPEED_SMOOTHING = 0.2
"""Weight of the newest batch in the speed that is reckoned with."""
_CHARACTERS_PER_TOKEN = 4
Outcomes = list[Answer | Failure]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """How the queue stands."""

    n_rows: int
    n_tokens: int
    tokens_per_s: float
    """About so many were computed lately; 0: nothing was yet."""
    n_batches: int


class Batcher(Worker):
    """One worker thread over one runtime. `answer` is called in the event loop; everything else may be anywhere."""

    def __init__(self, runtime: Runtime, config: ServerConfig, report: Callable[[BaseException], object]) -> None:
        """`report` is told of faults of our own."""
        super().__init__("batcher")
        self._runtime, self._config, self._report = runtime, config, report
        self._queue = FairQueue()
        self._tokens_per_s = 0.0
        self._n_batches = 0
        self._moments: list[Moment] = []
        """What the runtime did for the batch at hand; only where traces are made."""

    def make_traces(self) -> None:
        """Record from now on, for tickets with a trace, where their time goes."""
        self._runtime.watch = self._moments.append

    def state(self) -> QueueState:
        """Return how many wait, and how fast they are computed."""
        with self._wakes:
            return QueueState(n_rows=self._queue.n_rows, n_tokens=self._queue.n_tokens,
                              tokens_per_s=self._tokens_per_s, n_batches=self._n_batches)

    async def answer(self, tickets: Sequence[Ticket]) -> Outcomes:
        """Wait for every row's answer, in order; whoever is cancelled while waiting takes the rows back.

        Raises TooBusy, and queues nothing, where there is no room or no time for all of them.
        """
        loop = asyncio.get_running_loop()
        for ticket in tickets:
            ticket.done = loop.create_future()
        self._put(tickets)
        try:
            outcomes = [await ticket.done for ticket in tickets]
        except BaseException:
            self._withdraw(tickets)
            raise
        return [outcome for own in outcomes for outcome in own]

    def _put(self, tickets: Sequence[Ticket]) -> None:
        with self._wakes:
            self._require_room(tickets)
            was_empty = self._queue.n_rows == 0
            for ticket in tickets:
                self._queue.put(ticket)
            if was_empty or self._queue.n_tokens >= self._config.tokens_per_batch:
                self._wakes.notify()

    def _require_room(self, tickets: Sequence[Ticket]) -> None:
        """Refuse what the queue cannot hold, or could not be answered before its deadline."""
        limit, first = self._config.limits.queued_rows, tickets[0]
        n_rows = sum(len(ticket.rows) for ticket in tickets)
        own = self._queue.rows_of_holder[first.holder]
        is_shared = first.holder != ANYBODY.id
        seconds = self._queue.n_tokens / self._tokens_per_s if self._tokens_per_s else 0.0
        if self._queue.n_rows + n_rows > limit:
            raise TooBusy(f"{self._queue.n_rows} rows wait, {limit} may.", retry_after_s=max(seconds, 1.0))
        if is_shared and own + n_rows > limit // 2:
            raise TooBusy(f"{own} rows of this token wait, {limit // 2} may.", retry_after_s=max(seconds, 1.0))
        if seconds > first.deadline - first.enqueued_at:
            raise TooBusy(f"What waits takes about {seconds:.1f} seconds, longer than this request would wait.",
                          retry_after_s=seconds)

    def _withdraw(self, tickets: Sequence[Ticket]) -> None:
        with self._wakes:
            waiting = [ticket for ticket in tickets if ticket.pending is None and not ticket.is_withdrawn]
            for ticket in waiting:
                self._queue.withdraw(ticket)
            for ticket in tickets:
                ticket.is_withdrawn = True
            submitted = [ticket.pending for ticket in tickets if ticket.pending not in (None, _TAKEN)]
        for pending in submitted:
            pending.cancel()

    def _work(self) -> None:
        while (tickets := self._gather()) is not None:
            self._compute_or_fail(tickets)
        with self._wakes:
            left = self._queue.take(self._queue.n_tokens + 1) if self._queue.n_rows else []
        gone = Cancelled("The server ended before a pass began with it.", hint="Ask again.")
        self._deliver({ticket: _failed(ticket, gone) for ticket in left})

    def _gather(self) -> list[Ticket] | None:
        """Wait for tickets, and a moment longer for others to join; None at the end."""
        budget = self._config.tokens_per_batch
        with self._wakes:
            while self._queue.n_rows == 0 and not self._is_closed:
                self._wakes.wait()
            while (since := self._queue.oldest_at()) is not None and self._queue.n_tokens < budget:
                left = since + self._config.gather_s - time.monotonic()
                if left <= 0 or self._is_closed:
                    break
                self._wakes.wait(left)
            if self._is_closed:
                return None
            tickets = self._queue.take(budget)
            for ticket in tickets:
                ticket.pending = _TAKEN
        return tickets

    def _compute_or_fail(self, tickets: Sequence[Ticket]) -> None:
        """Compute; where that breaks, each ticket alone, so that what broke it harms no other caller."""
        try:
            self._compute(tickets)
        except Exception as error:  # a broken batch must not end the server
            self._report(error)
            for ticket in tickets:
                if ticket.pending is not _TAKEN:
                    ticket.pending.cancel()
            left = [ticket for ticket in tickets if not ticket.done.done()]
            if len(tickets) > 1:
                for ticket in left:
                    self._compute_or_fail([ticket])
                return
            fault = InternalFault("The server failed at this batch.", hint="Ask again; the log says what it was.")
            self._deliver({ticket: _failed(ticket, fault) for ticket in left})

    def _compute(self, tickets: Sequence[Ticket]) -> None:
        """Answer tickets; those that need no further pass are delivered before those that do."""
        started = time.monotonic()
        open_tickets: list[Ticket] = []
        for ticket in tickets:
            if ticket.is_withdrawn:
                continue
            if started > ticket.deadline:
                self._deliver({ticket: _failed(ticket, _passed(ticket, started))})
                continue
            ticket.pending = self._runtime.submit(ticket.rows, truncate=ticket.is_truncated,
                                                  timeout_s=ticket.deadline - started)
            open_tickets.append(ticket)
        n_tokens = sum(ticket.n_tokens for ticket in open_tickets)
        while open_tickets:
            open_tickets[0].pending.answers()
            ready = [ticket for ticket in open_tickets if ticket.pending.is_done]
            self._trace(ready, started)
            self._deliver({ticket: ticket.pending.answers() for ticket in ready})
            open_tickets = [ticket for ticket in open_tickets if ticket not in ready]
        self._moments.clear()
        if n_tokens:
            self._note_speed(n_tokens / max(time.monotonic() - started, 1e-6))

    def _trace(self, tickets: Sequence[Ticket], taken_at: float) -> None:
        """Record the wait, the passes of the batch, and the loads of the adapters that a ticket names."""
        for ticket in tickets:
            if ticket.trace is None:
                continue
            digests = {reference.rpartition("sha256:")[2] for reference, _ in ticket.rows if reference}
            ticket.trace.note("queue", ticket.enqueued_at, taken_at)
            for moment in self._moments:
                if moment.what == FORWARD:
                    ticket.trace.note(FORWARD, moment.started_at, moment.ended_at, {"adapterhub.rows": moment.n_rows})
                elif moment.digest in digests:
                    ticket.trace.note(LOAD, moment.started_at, moment.ended_at, {"adapterhub.digest": moment.digest})

    def _note_speed(self, tokens_per_s: float) -> None:
        with self._wakes:
            self._n_batches += 1
            known = self._tokens_per_s or tokens_per_s
            self._tokens_per_s = known + _SPEED_SMOOTHING * (tokens_per_s - known)

    def _deliver(self, outcomes: dict[Ticket, Outcomes]) -> None:
        """Hand outcomes to the event loop that waits for them, all of one loop in one call."""
        by_loop: dict[Any, list[tuple[Any, Outcomes]]] = {}
        for ticket, own in outcomes.items():
            by_loop.setdefault(ticket.done.get_loop(), []).append((ticket.done, own))
        for loop, items in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_set_results, items)


def about_n_tokens(row: Any) -> int:
    """Return about how many tokens a row has, from its characters: gathering needs no more."""
    return 2 + _n_characters(row) // _CHARACTERS_PER_TOKEN


def _n_characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_n_characters, value.values()))
    return sum(map(_n_characters, value)) + 4 * len(value) if isinstance(value, (list, tuple)) else 0


def _set_results(items: list[tuple[Any, Outcomes]]) -> None:
    for done, outcomes in items:
        if not done.done():
            done.set_result(outcomes)


def _failed(ticket: Ticket, error: AdapterHubError) -> Outcomes:
    return [Failure(reference=reference, error=error) for reference, _ in ticket.rows]


def _passed(ticket: Ticket, now: float) -> DeadlinePassed:
    return DeadlinePassed(f"The row waited {now - ticket.enqueued_at:.2f} seconds, longer than it was given.",
                          hint="Ask again, or give it more time.")


_TAKEN = object()
"""Stands for the runtime's PendingRows between a ticket's leaving the queue and its being submitted."""
