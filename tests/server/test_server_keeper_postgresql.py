"""A server's keeper over PostgreSQL that goes away and comes back: answers wait, feedback is told and then taken."""

import asyncio
from collections.abc import Iterator

import pytest
from postgresql import Server, running_server, why_not
from sqlalchemy import func, select

from adapterhub.errors import StorageError
from adapterhub.feedback.forgetting import Retention
from adapterhub.feedback.records import Feedback
from adapterhub.feedback.store import FeedbackStore
from adapterhub.feedback.tables import ANSWERS, FEEDBACK
from adapterhub.server.answered import AnsweredRow
from adapterhub.server.keeper import Keeper


@pytest.fixture
def own() -> Iterator[Server]:
    if reason := why_not():
        pytest.skip(reason)
    with running_server() as server:
        yield server


def heard(answer_id: str) -> AnsweredRow:
    return AnsweredRow(id=answer_id, holder="h", reference="t/a", version="t/a@1", digest="0" * 64,
                       task="text-classification", row={"text": "a"}, result={"label": "x"}, seconds=0.1)


def test_keeper_outlasts_a_restart_of_the_database(own: Server) -> None:
    store = FeedbackStore(own.new_database())
    keeper = Keeper(store, Retention())
    keeper.start()
    said = Feedback(answer_id="a0", holder="h", at_ms=1, rating=1.0)

    async def ask() -> None:
        keeper.hear(heard("a0"))
        assert await keeper.give(said)
        own.stop()
        for i in range(1, 20):
            keeper.hear(heard(f"a{i}"))
        with pytest.raises(StorageError):
            await keeper.give(Feedback(answer_id="a1", holder="h", at_ms=1, rating=1.0))
        own.start()
        assert not await keeper.give(said)
        assert await keeper.give(Feedback(answer_id="a1", holder="h", at_ms=1, rating=0.5))
    asyncio.run(ask())
    keeper.close()
    with store.reading() as connection:
        found = [connection.execute(select(func.count()).select_from(table)).scalar_one()
                 for table in (ANSWERS, FEEDBACK)]
    assert found == [20, 2]
    assert keeper.n_lost == 0
    store.close()
