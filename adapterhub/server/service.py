"""Everything behind the routes: rows in, outcomes out, by one runtime, with limits, lookups, figures and listeners."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapterhub.errors import AdapterHubError, PredictionError
from adapterhub.registry import Version
from adapterhub.runtime.answer import Answer
from adapterhub.runtime.engine import Runtime
from adapterhub.server.answered import AnsweredRow, AnswerListener, new_answer_id
from adapterhub.server.batcher import Batcher, about_n_tokens
from adapterhub.server.config import ServerConfig
from adapterhub.server.errors import BodyTooLarge
from adapterhub.server.fair_queue import Ticket
from adapterhub.server.follow import PinnedVersions
from adapterhub.server.limits import HolderLimits
from adapterhub.server.lookup import Lookup
from adapterhub.server.metrics import Metrics
from adapterhub.server.tokens import Holder
from adapterhub.server.tracing import RequestTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, since when, and how long they wait."""

    holder: Holder
    request_id: str
    started_at: float
    """Seconds of a monotonic clock."""
    deadline: float
    """On the same clock."""
    writes_s: float
    """Seconds after which a row that writes ends."""
    trace: RequestTrace | None = None
    """None where no traces are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutcome:
    """What came of one row: an answer with its id, or an error."""

    reference: str | None
    version: Version | None
    """None for the bare base, and where the reference means nothing."""
    id: str = ""
    answer: Answer | None = None
    error: AdapterHubError | None = None

    def required(self) -> Answer:
        """Return the answer. Raises the row's own error."""
        if self.error is not None:
            raise self.error
        assert self.answer is not None, "a row without an error has an answer"
        return self.answer


_ROW = re.compile(r"^Row \d+(?: for \S+?)?(: | )")
"""How the runtime names a row, by its place in a batch that the caller does not know."""


@dataclass(slots=True, kw_only=True)
class RowService:
    """Answers rows of any adapters for callers with rights. Used in the event loop."""

    config: ServerConfig
    runtime: Runtime
    registry: PinnedVersions
    lookup: Lookup
    batcher: Batcher
    limits: HolderLimits
    metrics: Metrics
    listeners: list[AnswerListener] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    async def answer(self, rows: Sequence[tuple[str | None, Any]], caller: Caller, *,
                     truncate: bool = False) -> list[RowOutcome]:
        """Answer rows of (reference, row), in their order; a row at fault fails alone.

        Raises BodyTooLarge, TooBusy where none of them is looked at.
        """
        self.require_number(len(rows))
        self.limits.take_rows(caller.holder.id, len(rows))
        begun = self.clock()
        versions = await self.lookup.versions((reference for reference, _ in rows), caller.holder)
        if caller.trace:
            caller.trace.note("lookup", begun, self.clock())
        faults = [fault if isinstance(fault := versions[reference], AdapterHubError) else self._fault_of(row)
                  for reference, row in rows]
        good = [(self._pinned(versions[reference]), row)
                for (reference, row), fault in zip(rows, faults, strict=True) if fault is None]
        answers = iter(await self.batcher.answer(self._tickets(good, caller, truncate)) if good else ())
        return [self._outcome(reference, row, versions[reference], fault or next(answers), caller)
                for (reference, row), fault in zip(rows, faults, strict=True)]

    def require_number(self, n_rows: int) -> None:
        """Raise BodyTooLarge for more rows than one request may have."""
        limit = self.config.limits.rows
        if n_rows > limit:
            raise BodyTooLarge(f"The request has {n_rows} rows, {limit} are allowed.", hint="Ask in several requests.")

    def _fault_of(self, row: Any) -> AdapterHubError | None:
        """Return what is wrong with a row before any adapter reads it."""
        limit = self.config.limits.row_tokens
        if (n_tokens := about_n_tokens(row)) > limit:
            return BodyTooLarge(f"The row has about {n_tokens:,} tokens, {limit:,} are allowed.",
                                hint="Ask for fewer candidates, or cut the text into several rows.")
        return fault_of_text(row)

    def _pinned(self, version: Version | AdapterHubError | None) -> str | None:
        assert not isinstance(version, AdapterHubError), "rows at fault were left out"
        return self.registry.keep(version) if version else None

    def _tickets(self, rows: Sequence[tuple[str | None, Any]], caller: Caller, truncate: bool) -> list[Ticket]:
        """Cut a request's rows into tickets, none much larger than a batch, so that no request holds up others."""
        tickets: list[Ticket] = []
        part: list[tuple[str | None, Any]] = []
        n_tokens = 0
        now = self.clock()
        for i, row in enumerate(rows):
            part.append(row)
            n_tokens += about_n_tokens(row[1])
            if n_tokens >= self.config.tokens_per_batch or i == len(rows) - 1:
                tickets.append(Ticket(holder=caller.holder.id, lane=part[0][0] or "", rows=part, n_tokens=n_tokens,
                                      is_truncated=truncate, enqueued_at=now, deadline=caller.deadline,
                                      trace=caller.trace))
                part, n_tokens = [], 0
        return tickets

    def _outcome(self, reference: str | None, row: Any, version: Version | AdapterHubError | None, came: Any,
                 caller: Caller) -> RowOutcome:
        found = None if isinstance(version, AdapterHubError) else version
        seconds = self.clock() - caller.started_at
        if not isinstance(came, Answer):
            error = came if isinstance(came, AdapterHubError) else _without_row(came.error)
            if not isinstance(version, AdapterHubError):
                self.metrics.row(found.path if found else None, type(error).__name__, seconds)
            return RowOutcome(reference=reference, version=found, error=error)
        self.metrics.row(found.path if found else None, "answered", seconds, about_n_tokens(row))
        outcome = RowOutcome(reference=reference, version=found, id=new_answer_id(), answer=came)
        if self.listeners:
            record = AnsweredRow(id=outcome.id, holder=caller.holder.id, reference=reference, task=came.task,
                                 version=found.reference if found else None, digest=found.digest if found else None,
                                 row=row, result=came.result, seconds=seconds)
            for listen in self.listeners:
                listen(record)
        return outcome


def fault_of_text(row: Any) -> PredictionError | None:
    """Return what is wrong with a row's texts, which JSON lets pass and no tokenizer reads; None where nothing is."""
    try:
        _encode_all(row)
    except UnicodeEncodeError:
        return PredictionError("A text holds half of a character (a lone surrogate).", hint="Send whole characters.")
    return None


def _encode_all(value: Any) -> None:
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
    elif isinstance(value, dict):
        for item in value.values():
            _encode_all(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _encode_all(item)


def _without_row(error: AdapterHubError) -> AdapterHubError:
    """Return a row's error without the place that the row had in the batch."""
    if not isinstance(error, PredictionError) or not _ROW.match(error.message):
        return error
    return type(error)(_ROW.sub(lambda name: "" if name.group(1) == ": " else "The row ", error.message),
                       hint=error.hint)
