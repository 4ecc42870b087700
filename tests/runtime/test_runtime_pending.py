"""Rows that are asked for and not waited for: cancelled, out of time, or computed by another caller."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from adapterhub.errors import Cancelled, DeadlinePassed
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.engine import Runtime

ROWS: list[tuple[str | None, str]] = [
    ("t/intents3", "my card"), ("t/entities", "anna is in rome"), (None, "a bare text")]


@pytest.fixture
def runtime(runtime_of: Callable[..., Runtime]) -> Runtime:
    return runtime_of()


def test_submitted_rows_are_answered_when_they_are_waited_for(runtime: Runtime) -> None:
    pending = runtime.submit(ROWS)
    assert not pending.is_done
    assert pending.answers() == runtime.answer(ROWS)
    assert pending.is_done


def test_one_callers_pass_answers_another_callers_rows(runtime: Runtime) -> None:
    other = runtime.submit(ROWS[:1])
    runtime.predict(ROWS[1:])
    assert other.is_done
    assert runtime.statistics().n_passes == 1


def test_cancelled_rows_fail_and_are_not_computed(runtime: Runtime) -> None:
    taken_back, kept = runtime.submit(ROWS), runtime.submit(ROWS)
    assert taken_back.cancel() == len(ROWS)
    assert all(isinstance(answer, Answer) for answer in kept.answers())
    for answer in taken_back.answers():
        assert isinstance(answer, Failure)
        assert isinstance(answer.error, Cancelled)
    assert runtime.statistics().n_rows == len(ROWS)


def test_answered_rows_cannot_be_cancelled(runtime: Runtime) -> None:
    pending = runtime.submit(ROWS)
    answers = pending.answers()
    assert pending.cancel() == 0
    assert pending.answers() == answers


def test_row_in_a_pass_ends_there_though_it_is_cancelled(runtime: Runtime, monkeypatch: Any) -> None:
    compute: Callable[..., Any] = runtime._shared.compute
    has_begun, may_go_on = threading.Event(), threading.Event()

    def slow(rows: Any) -> Any:
        has_begun.set()
        assert may_go_on.wait(30)
        return compute(rows)
    monkeypatch.setattr(runtime._shared, "compute", slow)
    pending = runtime.submit(ROWS)
    worker = threading.Thread(target=pending.answers)
    worker.start()
    assert has_begun.wait(30)
    late = runtime.submit(ROWS[:1])
    assert (pending.cancel(), late.cancel()) == (0, 1)
    may_go_on.set()
    worker.join()
    assert all(isinstance(answer, Answer) for answer in pending.answers())


def test_row_past_its_time_fails_alone(runtime: Runtime) -> None:
    late, other = runtime.submit(ROWS[:1], timeout_s=0.0), runtime.submit(ROWS)
    assert all(isinstance(answer, Answer) for answer in other.answers())
    failure = late.answers()[0]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, DeadlinePassed)
    assert "Row 1 for t/intents3 waited" in str(failure.error)


def test_row_within_its_time_is_answered(runtime: Runtime) -> None:
    assert isinstance(runtime.submit(ROWS[:1], timeout_s=60).answers()[0], Answer)
