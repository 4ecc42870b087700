"""The thread that writes answers and feedback: a database that fails, ends, or is asked by many at once."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running_server import wait_until
from sqlalchemy import func, select

from adapterhub.errors import StorageError
from adapterhub.feedback.forgetting import Retention
from adapterhub.feedback.records import Feedback
from adapterhub.feedback.redact import Redactor
from adapterhub.feedback.store import FeedbackStore
from adapterhub.feedback.tables import ANSWERS, FEEDBACK, TEXTS
from adapterhub.server import keeper as module
from adapterhub.server.answered import AnsweredRow
from adapterhub.server.errors import InternalFault
from adapterhub.server.keeper import Keeper


class Shaky(FeedbackStore):
    """A store whose database is away while `is_away`."""

    is_away = False

    def write(self, work: Callable[[Any], Any]) -> Any:
        if self.is_away:
            raise StorageError("The database is away.")
        return super().write(work)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Shaky]:
    opened = Shaky(str(tmp_path / "feedback.sqlite3"))
    yield opened
    opened.close()


@pytest.fixture
def keeper(store: Shaky, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    monkeypatch.setattr(module, "_RETRY_S", 0.02)
    made = Keeper(store, Retention())
    made.start()
    yield made
    made.close()


def heard(answer_id: str) -> AnsweredRow:
    return AnsweredRow(id=answer_id, holder="h", reference="t/a", version="t/a@1", digest="0" * 64,
                       task="text-classification", row={"text": "a"}, result={"label": "x"}, seconds=0.1)


def said(answer_id: str, **what: Any) -> Feedback:
    return Feedback(answer_id=answer_id, holder="h", at_ms=1, **what)


def n_lines(store: FeedbackStore, table: Any = ANSWERS) -> int:
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_answers_outlast_a_database_that_is_away_and_feedback_is_told(keeper: Keeper, store: Shaky) -> None:
    async def ask() -> None:
        store.is_away = True
        for i in range(50):
            keeper.hear(heard(f"a{i}"))
        with pytest.raises(StorageError, match="away"):
            await keeper.give(said("a0", rating=1.0))
        store.is_away = False
        assert await keeper.answer_of("a49") is not None
        assert await keeper.give(said("a0", rating=1.0))
    asyncio.run(ask())
    assert (n_lines(store), n_lines(store, FEEDBACK), keeper.n_lost) == (50, 1, 0)


def test_answers_that_cannot_wait_are_counted_as_lost(keeper: Keeper, store: Shaky,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    store.is_away = True
    keeper.hear(heard("first"))
    wait_until(lambda: keeper.n_waiting)
    for i in range(30):
        keeper.hear(heard(f"a{i}"))
    assert keeper.n_lost >= 20
    store.is_away = False
    wait_until(lambda: not keeper.n_waiting)
    keeper.close()
    assert n_lines(store) == 31 - keeper.n_lost


def test_texts_that_cannot_wait_are_left_out_of_their_answers(store: Shaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TEXT", 100)
    made = Keeper(store, Retention(), Redactor())
    for i in range(50):
        made.hear(heard(f"a{i}"))
    made.start()
    made.close()
    assert n_lines(store) == 50
    assert 0 < n_lines(store, TEXTS) == 2 * (50 - made.n_texts_lost) < 100
    assert made._n_text == 0


def test_keeper_ends_also_where_the_database_is_away(store: Shaky) -> None:
    made = Keeper(store, Retention())
    for i in range(5000):
        made.hear(heard(f"a{i}"))
    store.is_away = True
    made.start()
    wait_until(lambda: made.is_alive)
    made.close()
    assert not made.is_alive
    assert made.n_lost == 5000


def test_work_that_breaks_harms_no_other(keeper: Keeper, store: Shaky) -> None:
    async def ask() -> None:
        with pytest.raises(InternalFault):
            await keeper._want(lambda _: 1 // 0)
        keeper.hear(heard("a"))
        assert await keeper.give(said("a", rating=0.0))
    asyncio.run(ask())
    assert n_lines(store) == 1


def test_feedback_of_many_at_once_shares_transactions_and_each_is_durable(keeper: Keeper, store: Shaky) -> None:
    n_writes = 0
    plain = store.write

    def counted(work: Callable[[Any], Any]) -> Any:
        nonlocal n_writes
        n_writes += 1
        return plain(work)
    store.write = counted  # type: ignore[method-assign]

    async def ask() -> list[bool]:
        for i in range(200):
            keeper.hear(heard(f"a{i}"))
        return await asyncio.gather(*(keeper.give(said(f"a{i}", rating=1.0)) for i in range(200)))
    assert asyncio.run(ask()) == [True] * 200
    assert (n_lines(store), n_lines(store, FEEDBACK)) == (200, 200)
    assert n_writes < 20


def test_answer_that_another_process_writes_a_moment_later_is_found(keeper: Keeper, tmp_path: Path) -> None:
    other = Keeper(FeedbackStore(str(tmp_path / "feedback.sqlite3")), Retention())
    late = threading.Timer(0.1, lambda: (other.hear(heard("late")), other.start()))
    late.start()
    found = asyncio.run(keeper.answer_of("late"))
    other.close()
    other.store.close()
    assert found is not None


def test_who_asks_while_it_ends_is_told(store: Shaky) -> None:
    made = Keeper(store, Retention())
    made.start()
    made.close()
    with pytest.raises(StorageError, match="is ending"):
        asyncio.run(made.give(said("a", rating=1.0)))
