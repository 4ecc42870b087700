"""Rows that write: one thread steps the generator for all of them, and hands new tokens to the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapterhub.errors import AdapterHubError, PassFailed
from adapterhub.runtime.answer import Failure
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated, TokenPiece
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.runtime.generation.stream import TokenStream
from adapterhub.runtime.watch import Moment
from adapterhub.server.errors import InternalFault
from adapterhub.server.tracing import RequestTrace
from adapterhub.server.worker import Worker


@dataclass(slots=True, eq=False)
class Draft:
    """One row as the event loop sees it grow."""

    loop: asyncio.AbstractEventLoop
    stream: TokenStream
    outcome: Generated | AdapterHubError | None = None
    digest: str = ""
    """Of its adapter."""
    trace: RequestTrace | None = None
    _pieces: list[TokenPiece] = field(default_factory=list)
    _has_news: asyncio.Event = field(default_factory=asyncio.Event)

    async def more(self) -> list[TokenPiece]:
        """Wait for new tokens and return them; none: the row has ended. Raises the row's own error."""
        await self._news()
        pieces, self._pieces = self._pieces, []
        if not pieces and isinstance(self.outcome, AdapterHubError):
            raise self.outcome
        return pieces

    async def started(self) -> None:
        """Wait for the first token or the end. Raises the row's own error where it has written nothing."""
        await self._news()
        if not self._pieces and isinstance(self.outcome, AdapterHubError):
            raise self.outcome

    def push(self, pieces: Sequence[TokenPiece], outcome: Generated | AdapterHubError | None) -> None:
        """Take what was written; called in the event loop."""
        self._pieces += pieces
        self.outcome = outcome if outcome is not None else self.outcome
        self._has_news.set()

    async def _news(self) -> None:
        while not self._pieces and self.outcome is None:
            self._has_news.clear()
            await self._has_news.wait()


class Writer(Worker):
    """One thread over one generator. `write` and `cancel` are called in the event loop."""

    def __init__(self, generator: Generator, report: Callable[[BaseException], object]) -> None:
        """`report` is told of faults of our own."""
        super().__init__("writer")
        self._generator, self._report = generator, report
        self._drafts: list[Draft] = []
        self._cancelled: list[Draft] = []
        self._moments: list[Moment] = []
        """What the generator loaded in the step at hand; only where traces are made."""

    def make_traces(self) -> None:
        """Record from now on, for drafts with a trace, what is loaded for them."""
        self._generator.watch = self._moments.append

    @property
    def n_drafts(self) -> int:
        """Rows that wait or write."""
        return len(self._drafts)

    async def write(self, reference: str | None, prompt: Any, settings: GenerationSettings,
                    timeout_s: float, trace: RequestTrace | None = None) -> Draft:
        """Begin a row and return it. Raises what is wrong with the prompt, as `Generator.submit`."""
        stream = await asyncio.to_thread(self._generator.submit, reference, prompt, settings, timeout_s=timeout_s)
        digest = (reference or "").rpartition("sha256:")[2]
        draft = Draft(asyncio.get_running_loop(), stream, digest=digest, trace=trace)
        with self._wakes:
            self._drafts.append(draft)
            self._wakes.notify()
        return draft

    def cancel(self, draft: Draft) -> None:
        """End a row at the next step; nothing happens where it has ended."""
        with self._wakes:
            if draft.outcome is None:
                self._cancelled.append(draft)
                self._wakes.notify()

    def _work(self) -> None:
        while True:
            with self._wakes:
                while not (self._drafts or self._cancelled or self._is_closed):
                    self._wakes.wait()
                drafts = list(self._drafts)
                cancelled, self._cancelled = (drafts if self._is_closed else self._cancelled), []
                is_closed = self._is_closed
            for draft in cancelled:
                draft.stream.cancel()
            self._step(drafts)
            if is_closed:
                return

    def _step(self, drafts: Sequence[Draft]) -> None:
        try:
            if any(not draft.stream.is_done for draft in drafts):
                self._generator.step()
        except Exception as error:  # the generator has ended the rows that it touched
            self._report(error)
        self._trace(drafts)
        news: dict[asyncio.AbstractEventLoop, list[tuple[Draft, list[TokenPiece], Any]]] = {}
        ended: set[int] = set()
        for draft in drafts:
            outcome = _outcome_of(draft.stream) if draft.stream.is_done else None
            pieces = draft.stream.ready()
            if outcome is not None:
                ended.add(id(draft))
            if pieces or outcome is not None:
                news.setdefault(draft.loop, []).append((draft, pieces, outcome))
        if ended:
            with self._wakes:
                self._drafts = [draft for draft in self._drafts if id(draft) not in ended]
        for loop, items in news.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_push_all, items)

    def _trace(self, drafts: Sequence[Draft]) -> None:
        for moment in self._moments:
            for draft in drafts:
                if draft.trace and draft.digest == moment.digest:
                    draft.trace.note(moment.what, moment.started_at, moment.ended_at,
                                     {"adapterhub.digest": moment.digest})
        self._moments.clear()


def _outcome_of(stream: TokenStream) -> Generated | AdapterHubError:
    outcome = stream.outcome()
    if not isinstance(outcome, Failure):
        return outcome
    if isinstance(outcome.error, PassFailed):  # its words may hold a text
        return InternalFault("The server failed at this row.", hint="Ask again; the log says what it was.")
    return outcome.error


def _push_all(items: Sequence[tuple[Draft, list[TokenPiece], Any]]) -> None:
    for draft, pieces, outcome in items:
        draft.push(pieces, outcome)
