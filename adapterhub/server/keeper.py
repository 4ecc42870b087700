"""Answers and feedback on their way into the store: one thread writes what has gathered, in one transaction at a time.

Feedback is acknowledged when it is durable. It waits behind every answer that was given before it, so it finds its own.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from adapterhub.errors import AdapterHubError, StorageError
from adapterhub.feedback.forgetting import Forgotten, Retention, expire
from adapterhub.feedback.records import Feedback, KeptAnswer, KeptTexts, label_of, now_ms
from adapterhub.feedback.redact import REGIONS, Redactor
from adapterhub.feedback.store import FeedbackStore
from adapterhub.feedback.writing import add_answers, add_feedback, find_answer
from adapterhub.server.answered import AnsweredRow
from adapterhub.server.batcher import about_n_tokens
from adapterhub.server.config import FeedbackConfig
from adapterhub.server.errors import InternalFault
from adapterhub.server.logs import log
from adapterhub.server.worker import Worker

_GATHER_S = 0.05
"""Answers gather for so long; feedback, for which somebody waits, ends it."""
_AT_ONCE = 2000
_MOST_WAITING = 100_000
"""Answers that wait while the database cannot be reached; past it the oldest are lost, and counted."""
_MOST_TEXT = 4_000_000
"""About so many tokens of rows wait with their answers; past it answers are kept without their texts."""
_RETRY_S = 1.0
_EXPIRE_EVERY_S = 600.0
_EXPIRE_AT_ONCE = 5000
_FOUND_LATE_S = (0.05, 0.3)
"""An answer of a stream's last moment, or of another server over the same store, is looked for again after these."""
_VECTOR = "embedding"
"""What a result may hold that says as much as its text, and is of no use here."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """One answer that waits to be written, with its row where texts are kept."""

    answer: KeptAnswer
    row: Any = None
    result: Any = None
    has_texts: bool = False
    n_tokens: int = 0
    """About so many, of the texts."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Work that somebody waits for."""

    work: Callable[[Connection], Any]
    done: "asyncio.Future[Any]"


class Keeper(Worker):
    """One thread over one store. `hear`, `answer_of` and `give` are called in the event loop."""

    def __init__(self, store: FeedbackStore, retention: Retention, redactor: Redactor | None = None, *,
                 clock_ms: Callable[[], int] = now_ms) -> None:
        """Without a redactor no text is kept."""
        super().__init__("keeper")
        self.store, self.n_lost, self.n_texts_lost = store, 0, 0
        self._retention, self._redactor, self._clock_ms = retention, redactor, clock_ms
        self._waiting: deque[_Heard | _Wanted] = deque()
        self._n_wanted = self._n_text = 0  # of what waits
        self._expires_at = 0.0
        self._expire_every_s = min(_EXPIRE_EVERY_S, min(retention.texts_days, retention.answers_days) * 86400 / 4)

    @property
    def keeps_texts(self) -> bool:
        """Whether rows and corrections are kept."""
        return self._redactor is not None

    @property
    def n_waiting(self) -> int:
        """Answers and feedback that are not written yet."""
        return len(self._waiting)

    def hear(self, answered: AnsweredRow) -> None:
        """Take an answer that is about to be sent; its texts are dropped here unless they are to be kept."""
        kept = KeptAnswer(id=answered.id, at_ms=self._clock_ms(), holder=answered.holder, reference=answered.reference,
                          version=answered.version, digest=answered.digest, task=answered.task,
                          label=label_of(answered.task, answered.result), seconds=answered.seconds)
        if not self.keeps_texts:
            self._put(_Heard(kept))
            return
        n_tokens = about_n_tokens(answered.row) + about_n_tokens(answered.result.get("text", ""))
        if self._n_text + n_tokens > _MOST_TEXT:
            self.n_texts_lost += 1
            self._put(_Heard(kept))
        else:
            self._put(_Heard(kept, answered.row, answered.result, has_texts=True, n_tokens=n_tokens))

    async def answer_of(self, answer_id: str) -> KeptAnswer | None:
        """Return an answer that was given; None where there is none. Raises StorageError."""
        for wait_s in (*_FOUND_LATE_S, None):
            found: KeptAnswer | None = await self._want(lambda connection: find_answer(connection, answer_id))
            if found is not None or wait_s is None:
                return found
            await asyncio.sleep(wait_s)
        raise AssertionError("the last round returns")

    async def give(self, feedback: Feedback) -> bool:
        """Write feedback; once this returns it is durable. Return whether it says anything new. Raises StorageError."""
        said = feedback if feedback.correction is None else _cleaned(feedback, self._redactor)
        return bool(await self._want(lambda connection: add_feedback(connection, said)))

    async def _want(self, work: Callable[[Connection], Any]) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(_Wanted(work, done))
        return await done

    def _put(self, item: _Heard | _Wanted) -> None:
        with self._wakes:
            if self._is_closed and isinstance(item, _Wanted):
                raise StorageError("The server is ending.", hint="Ask again in a moment.")
            if len(self._waiting) >= _MOST_WAITING and isinstance(item, _Heard):
                self.n_lost += 1  # the new one: the old ones' feedback is nearer
                return
            self._waiting.append(item)
            self._count(item, 1)
            if len(self._waiting) == 1 or isinstance(item, _Wanted):
                self._wakes.notify()

    def _work(self) -> None:
        is_open = True
        while is_open:
            items, is_open = self._gather()
            try:
                if items:
                    self._write(items)
            except StorageError as error:
                self._put_back(items, error)
                continue
            except Exception as error:  # a fault of ours must not end the thread, nor be tried forever
                log("keeping answers failed", level=logging.ERROR, error=error)
                self.n_lost += sum(isinstance(item, _Heard) for item in items)
                _tell([(item, InternalFault("The server failed at this feedback.", hint="Send it again."))
                       for item in items if isinstance(item, _Wanted)])
            self._expire_in_time()

    def _gather(self) -> tuple[list[_Heard | _Wanted], bool]:
        """Wait for something to write or to expire, and a moment longer where nobody waits; whether it goes on."""
        with self._wakes:
            if not self._waiting and not self._is_closed:
                self._wakes.wait(max(0.0, self._expires_at - time.monotonic()))
            if self._waiting and not self._n_wanted and not self._is_closed:
                self._wakes.wait(_GATHER_S)
            items = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            for item in items:
                self._count(item, -1)
            return items, bool(self._waiting) or not self._is_closed

    def _count(self, item: _Heard | _Wanted, sign: int) -> None:
        if isinstance(item, _Wanted):
            self._n_wanted += sign
        else:
            self._n_text += sign * item.n_tokens

    def _write(self, items: list[_Heard | _Wanted]) -> None:
        """Write everything in one transaction, in the order in which it came, and then tell who waits."""
        texts = {id(item): self._texts_of(item) for item in items if isinstance(item, _Heard)}

        def work(connection: Connection) -> list[tuple[_Wanted, Any]]:
            results: list[tuple[_Wanted, Any]] = []
            heard: list[_Heard] = []
            for item in items:
                if isinstance(item, _Heard):
                    heard.append(item)
                    continue
                _add(connection, heard, texts)
                heard = []
                with connection.begin_nested():
                    results.append((item, item.work(connection)))
            _add(connection, heard, texts)
            return results
        _tell(self.store.write(work))

    def _texts_of(self, item: _Heard) -> KeptTexts | None:
        if self._redactor is None or not item.has_texts:
            return None
        result = {name: value for name, value in dict(item.result or {}).items() if name != _VECTOR}
        return KeptTexts(answer_id=item.answer.id, row=self._redactor.clean(item.row),
                         result=self._redactor.clean(result))

    def _put_back(self, items: list[_Heard | _Wanted], error: StorageError) -> None:
        """Keep answers for the next try, a moment later, and tell who waits that there was none."""
        log("feedback cannot be kept", level=logging.WARNING, place=self.store.where, fault=type(error).__name__)
        _tell([(item, error) for item in items if isinstance(item, _Wanted)])
        heard = [item for item in items if isinstance(item, _Heard)]
        with self._wakes:
            if self._is_closed:  # there is no later
                self.n_lost += len(heard)
                return
            self._waiting.extendleft(reversed(heard))
            for item in heard:
                self._count(item, 1)
            self._wakes.wait_for(lambda: self._is_closed, _RETRY_S)

    def _expire_in_time(self) -> None:
        """Forget what is past its time, a part in each round, so that feedback never waits long for it."""
        if time.monotonic() < self._expires_at or self._is_closed:
            return
        self._expires_at = time.monotonic() + self._expire_every_s
        try:
            gone = self.store.write(lambda connection: expire(connection, self._retention, self._clock_ms(),
                                                              n_most=_EXPIRE_AT_ONCE))
            if max(gone.n_answers, gone.n_texts) >= _EXPIRE_AT_ONCE:
                self._expires_at = 0.0
            elif gone != Forgotten():
                self.store.wipe()
        except StorageError as error:
            log("nothing can be forgotten", level=logging.WARNING, place=self.store.where, fault=type(error).__name__)
            return
        if gone != Forgotten():
            log("past its time", answers=gone.n_answers, feedback=gone.n_feedback, texts=gone.n_texts)


def open_keeper(config: FeedbackConfig) -> Keeper:
    """Open the store that a config names. Raises InvalidConfig, StorageError."""
    regions = REGIONS if config.phone_regions is None else config.phone_regions
    redactor = Redactor(regions) if config.stores_inputs else None  # first: wrong regions shall leave no file behind
    retention = Retention(texts_days=config.texts_days, answers_days=config.answers_days)
    return Keeper(FeedbackStore(config.place), retention, redactor)


def _add(connection: Connection, heard: list[_Heard], texts: dict[int, KeptTexts | None]) -> None:
    if heard:
        add_answers(connection, [item.answer for item in heard],
                    [kept for item in heard if (kept := texts[id(item)]) is not None])


def _cleaned(feedback: Feedback, redactor: Redactor | None) -> Feedback:
    assert redactor is not None, "a correction is refused where no text is kept"
    return replace(feedback, correction=redactor.clean(feedback.correction))


def _tell(results: list[tuple[_Wanted, Any]]) -> None:
    for item, result in results:
        loop = item.done.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, item.done, result)


def _settle(done: "asyncio.Future[Any]", result: Any) -> None:
    if done.done():
        return
    if isinstance(result, AdapterHubError):
        done.set_exception(result)
    else:
        done.set_result(result)
