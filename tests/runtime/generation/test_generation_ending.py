"""How rows end before their text does: closed or forgotten streams, deadlines, and rows that could never fit."""

import gc

import pytest
from generation_bed import Bed

from adapterhub.errors import DeadlinePassed, RowTooLarge
from adapterhub.runtime.answer import Failure
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings


def settings(n_new: int) -> GenerationSettings:
    return GenerationSettings(max_new_tokens=n_new)


def test_stream_that_its_caller_closes_frees_row_and_memory(llama: Bed) -> None:
    generator = llama.generator()
    with generator.submit("t/two", "x" * 60, settings(30)) as stream:
        next(stream)
        assert generator.statistics().cache_bytes > 0
    assert (generator.statistics().cache_bytes, generator.statistics().n_running) == (0, 0)
    assert not generator._model.adapters._pins
    assert stream.result().finish_reason == "cancelled"
    assert not generator.step()


def test_closing_a_stream_that_has_ended_changes_nothing(llama: Bed) -> None:
    generator = llama.generator()
    with generator.submit("t/two", "ab", settings(3)) as stream:
        assert len(list(stream)) == 3
    stream.close()
    assert stream.result().finish_reason == "length"
    assert generator.statistics().n_rows == 1


def test_forgotten_stream_frees_its_row_at_the_next_step_and_others_go_on(llama: Bed) -> None:
    generator = llama.generator(max_rows=2)
    generator.load("t/eight")
    forgotten, kept = generator.submit("t/two", "x" * 60, settings(30)), generator.submit("t/eight", "ab", settings(9))
    waiting = generator.submit("t/dora", "never begun", settings(9))
    next(forgotten)
    before = generator.statistics()
    del forgotten, waiting
    gc.collect()
    generator.step()
    after = generator.statistics()
    assert (before.n_running, before.n_waiting) == (2, 1)
    assert (after.n_running, after.n_waiting, after.n_rows) == (1, 0, 2)
    assert after.cache_bytes < before.cache_bytes / 3
    assert kept.result().tokens == llama.stock("t/eight", "ab", 9)
    assert not generator._model.adapters._pins


def test_row_that_waits_past_its_deadline_fails_and_one_in_flight_keeps_its_text(llama: Bed) -> None:
    generator = llama.generator(max_rows=1)
    writing = generator.submit("t/two", "my card", settings(30), timeout_s=3600)
    late = generator.submit("t/eight", "my card", settings(5), timeout_s=0.0)
    third = generator.submit(None, "my card", settings(5))
    next(writing)
    with pytest.raises(DeadlinePassed, match="longer than it was given"):
        late.result()
    writing._row.deadline = writing._row.enqueued_at  # its hour is over
    answer = writing.result()
    assert answer.finish_reason == "deadline"
    assert 1 <= len(answer.tokens) < 30
    assert answer.tokens == llama.stock("t/two", "my card", 30)[:len(answer.tokens)]
    assert third.result().tokens == llama.stock(None, "my card", 5)


def test_row_that_can_never_fit_fails_with_its_bytes_and_others_go_on(llama: Bed) -> None:
    token_bytes = llama.generator()._model.token_bytes.own
    generator = llama.generator(cache_bytes=20 * token_bytes)
    before, never, after = generator.generate([("t/two", "ab", settings(6)), ("t/two", "x" * 30, settings(6)),
                                               ("t/eight", "ab", settings(6))])
    assert isinstance(never, Failure)
    assert isinstance(never.error, RowTooLarge)
    needed = (len(llama.tokens("x" * 30)) + 5) * token_bytes
    assert (never.error.needed_bytes, never.error.budget_bytes) == (needed, 20 * token_bytes)
    assert f"{needed:,} bytes" in str(never.error)
    assert [row.tokens for row in (before, after) if isinstance(row, Generated)] == [
        llama.stock(reference, "ab", 6) for reference in ("t/two", "t/eight")]
