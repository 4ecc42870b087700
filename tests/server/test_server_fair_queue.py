"""Fair turns: a holder who asks for much keeps no other waiting, and within a holder no adapter does."""

from typing import Any

import pytest

from adapterhub.server.config import Limits
from adapterhub.server.errors import TooBusy
from adapterhub.server.fair_queue import FairQueue, Ticket
from adapterhub.server.limits import HolderLimits


def ticket(holder: str, lane: str = "a/b", n_tokens: int = 10, n_rows: int = 1, at: float = 0.0) -> Ticket:
    return Ticket(holder=holder, lane=lane, rows=[(lane, "text")] * n_rows, n_tokens=n_tokens, is_truncated=False,
                  enqueued_at=at, deadline=at + 1)


def filled(*tickets: Ticket) -> FairQueue:
    queue = FairQueue()
    for one in tickets:
        queue.put(one)
    return queue


def names(tickets: list[Ticket]) -> list[str]:
    return [one.holder for one in tickets]


def test_holders_take_turns_whoever_asked_first() -> None:
    queue = filled(*(ticket("many") for _ in range(5)), ticket("few"), ticket("one"))
    assert names(queue.take(1000)) == ["many", "few", "one", "many", "many", "many", "many"]


def test_adapters_take_turns_within_a_holder() -> None:
    queue = filled(*(ticket("h", "hot/one") for _ in range(4)), ticket("h", "cold/one"))
    assert [one.lane for one in queue.take(1000)] == ["hot/one", "cold/one", "hot/one", "hot/one", "hot/one"]


def test_turns_go_on_where_the_last_batch_ended() -> None:
    queue = filled(*(ticket(holder) for _ in range(2) for holder in "abc"))
    assert [names(queue.take(20)) for _ in range(3)] == [["a", "b"], ["c", "a"], ["b", "c"]]


def test_batch_holds_its_tokens_and_always_one_ticket() -> None:
    queue = filled(ticket("a", n_tokens=500), ticket("b", n_tokens=5))
    assert names(queue.take(100)) == ["a"]
    assert names(queue.take(100)) == ["b"]
    assert queue.take(100) == []


def test_counts_follow_what_waits() -> None:
    first, second = ticket("a", n_rows=3, at=1.0), ticket("b", n_tokens=7, at=2.0)
    queue = filled(first, second)
    assert (queue.n_rows, queue.n_tokens, queue.oldest_at()) == (4, 17, 1.0)
    queue.withdraw(first)
    assert (queue.n_rows, queue.n_tokens, dict(queue.rows_of_holder)) == (1, 7, {"b": 1})
    assert queue.take(100) == [second]
    assert (queue.n_rows, queue.n_tokens, dict(queue.rows_of_holder), queue.oldest_at()) == (0, 0, {}, None)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_lets_a_burst_pass_and_then_its_pace() -> None:
    clock = Clock()
    limits: Any = HolderLimits(Limits(rows_per_s=10), clock)
    limits.take_rows("a", 20)
    with pytest.raises(TooBusy) as refused:
        limits.take_rows("a", 5)
    assert refused.value.retry_after_s == pytest.approx(0.5)
    limits.take_rows("b", 20)
    clock.now += 0.5
    limits.take_rows("a", 5)


def test_request_larger_than_a_burst_passes_alone_and_is_paid_for() -> None:
    clock = Clock()
    limits = HolderLimits(Limits(rows_per_s=10), clock)
    limits.take_rows("a", 100)
    clock.now += 7.9
    with pytest.raises(TooBusy):
        limits.take_rows("a", 1)
    clock.now += 0.2
    limits.take_rows("a", 1)


def test_streams_are_counted_while_they_run_and_given_back_whatever_ends_them() -> None:
    limits = HolderLimits(Limits(streams=2))
    with limits.stream("a", 1), limits.stream("b", 2), pytest.raises(TooBusy), limits.stream("a", 2):
        pass
    with pytest.raises(KeyError), limits.stream("a", 2):
        raise KeyError
    with limits.stream("a", 2):
        pass
