"""Everything behind the routes that write: a prompt in, a row that grows, with limits, lookups, figures, listeners."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from adapterhub.registry import Version
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated, TokenPiece
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.server.answered import AnsweredRow, AnswerListener, choice_id, new_answer_id
from adapterhub.server.config import ServerConfig
from adapterhub.server.errors import BadRequest, TooBusy
from adapterhub.server.follow import PinnedVersions
from adapterhub.server.limits import HolderLimits
from adapterhub.server.lookup import Lookup
from adapterhub.server.metrics import Metrics
from adapterhub.server.service import Caller, fault_of_text
from adapterhub.server.writer import Draft, Writer
from adapterhub.tasks.text_generation import TextGeneration

_MOST_CHOICES = 8


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be written: for one prompt, as often as there are choices."""

    reference: str | None
    """None: the bare base."""
    prompt: Any
    """A text, or chat messages."""
    settings: GenerationSettings
    n_choices: int = 1


@dataclass(slots=True)
class Writing:
    """One wish that is being fulfilled."""

    id: str
    """Of the answer."""
    wish: Wish
    version: Version | None
    drafts: list[Draft]
    begun_at: float
    """When its rows were queued, on a monotonic clock."""
    started_at: float | None = None
    """When each had its first token."""

    async def finished(self) -> list[Generated]:
        """Wait for the end of every choice. Raises a row's own error."""
        for draft in self.drafts:
            while await draft.more():
                pass
        return [outcome for draft in self.drafts if isinstance(outcome := draft.outcome, Generated)]


@dataclass(slots=True, kw_only=True)
class WritingService:
    """Writes for callers with rights. Used in the event loop."""

    config: ServerConfig
    generator: Generator
    registry: PinnedVersions
    lookup: Lookup
    writer: Writer
    limits: HolderLimits
    metrics: Metrics
    listeners: list[AnswerListener] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    @asynccontextmanager
    async def writing(self, wish: Wish, caller: Caller) -> AsyncIterator[Writing]:
        """Begin to write, and end every row when the block is left, however it is left.

        Raises BadRequest, TooBusy; what is wrong with the reference or the prompt.
        """
        self._require_allowed(wish)
        if fault := fault_of_text(wish.prompt):
            raise fault
        self.limits.take_rows(caller.holder.id, wish.n_choices)
        version = None if wish.reference is None else await self.lookup.version(wish.reference, caller.holder)
        with self.limits.stream(caller.holder.id, wish.n_choices), self._counted(wish.n_choices):
            writing = Writing(new_answer_id(), wish, version, [], begun_at=self.clock())
            try:
                await self._begin(writing, caller)
                yield writing
            finally:
                for draft in writing.drafts:
                    self.writer.cancel(draft)
                self._note(writing, caller)
                self._trace(writing, caller)

    async def _begin(self, writing: Writing, caller: Caller) -> None:
        """Begin every choice, each with draws of its own, and wait for the first token of each."""
        wish = writing.wish
        writing.drafts = drafts = []
        pinned = self.registry.keep(writing.version) if writing.version else None
        for i in range(wish.n_choices):
            settings = replace(wish.settings, seed=wish.settings.seed + i)
            drafts.append(await self.writer.write(pinned, wish.prompt, settings, caller.writes_s, caller.trace))
        for draft in drafts:
            await draft.started()
        writing.started_at = self.clock()

    async def n_tokens_left(self, prompt: Any) -> int:
        """Return how many tokens a row may write behind a prompt. Raises PredictionError for one that is none."""
        base, task = self.generator.base, TextGeneration()
        most = self.config.limits.new_tokens
        if base.config.is_encoder_decoder:
            return most
        if fault := fault_of_text(prompt):
            raise fault
        tokens = await asyncio.to_thread(task.encode_prompt, task.parse_row(prompt), base.tokenizer)
        return max(1, min(most, base.max_length - len(tokens)))

    def _require_allowed(self, wish: Wish) -> None:
        limits = self.config.limits
        if wish.settings.max_new_tokens > limits.new_tokens:
            raise BadRequest(f"{wish.settings.max_new_tokens} new tokens are asked for, {limits.new_tokens} are "
                             "allowed.", field="max_tokens", hint="Ask for fewer.")
        if not 1 <= wish.n_choices <= _MOST_CHOICES:
            raise BadRequest(f"n is {wish.n_choices}, expected 1 to {_MOST_CHOICES}.", field="n", hint="Leave it out.")
        if self.writer.n_drafts + wish.n_choices > limits.queued_rows:
            raise TooBusy(f"{self.writer.n_drafts} rows wait or write, {limits.queued_rows} may.", retry_after_s=1.0)

    @contextlib.contextmanager
    def _counted(self, n_rows: int) -> Any:
        self.metrics.streams.inc(n_rows)
        try:
            yield
        finally:
            self.metrics.streams.dec(n_rows)

    def _trace(self, writing: Writing, caller: Caller) -> None:
        """Record the time until the first token (the queue, a load, the prompt's pass), and that of the others."""
        if caller.trace is None:
            return
        started_at, now = writing.started_at, self.clock()
        caller.trace.note("queue", writing.begun_at, now if started_at is None else started_at)
        if started_at is not None:
            caller.trace.note("forward", started_at, now, {"adapterhub.rows": len(writing.drafts)})

    def _note(self, writing: Writing, caller: Caller) -> None:
        """Count what came of each choice, and tell those who listen."""
        path = writing.version.path if writing.version else None
        seconds = self.clock() - caller.started_at
        for i, draft in enumerate(writing.drafts):
            outcome = draft.outcome
            if not isinstance(outcome, Generated):
                self.metrics.row(path, "Cancelled" if outcome is None else type(outcome).__name__, seconds)
                continue
            self.metrics.row(path, "answered", seconds, outcome.n_prompt_tokens)
            self.metrics.written(path, len(outcome.tokens))
            if not self.listeners:
                continue
            version = writing.version
            record = AnsweredRow(id=choice_id(writing.id, i, len(writing.drafts)), holder=caller.holder.id,
                                 reference=writing.wish.reference,
                                 version=version.reference if version else None,
                                 digest=version.digest if version else None, task="text-generation",
                                 row=writing.wish.prompt, result={"text": outcome.text}, seconds=seconds)
            for listen in self.listeners:
                listen(record)


def text_of(pieces: Sequence[TokenPiece]) -> str:
    """Return the text of new tokens."""
    return "".join(piece.text for piece in pieces)
