"""Rows in flight: the cache's budget, cancelling, replaced versions, rows at fault, several threads."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from generation_bed import Bed
from language_models import MAX_POSITIONS, Recipe, stock_lm, stock_tokens, write_language_model, write_lora
from tiny import write_tiny_base

from adapterhub.bases.load import load_base
from adapterhub.errors import AdapterHubError, AdapterNotFound, BaseMismatch, BaseNotFound, PredictionError
from adapterhub.registry import Registry
from adapterhub.runtime.answer import Failure
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings

ROWS = [("t/two", "a"), (None, "where is my card"), ("t/dora", "soup of the day"), ("t/eight", "x y z " * 6),
        ("t/attention", "my trip"), ("t/two", "bb" * 10)]


def settings(n_new: int, **more: Any) -> GenerationSettings:
    return GenerationSettings(max_new_tokens=n_new, **more)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_budget_is_kept_and_rows_wait_for_room(family: str, bed_of: Any) -> None:
    bed = bed_of(family)
    token_bytes = bed.generator()._model.token_bytes
    budget = 3 * 60 * (token_bytes.own + token_bytes.source)
    generator = bed.generator(cache_bytes=budget)
    streams = [generator.submit(reference, text, settings(8 + 4 * i)) for i, (reference, text) in enumerate(ROWS)]
    seen, has_waited = [], False
    while generator.step():
        statistics = generator.statistics()
        seen.append(statistics.cache_bytes)
        has_waited = has_waited or statistics.n_waiting > 0
    assert has_waited
    assert 0 < max(seen) <= budget
    for i, (stream, row) in enumerate(zip(streams, ROWS, strict=True)):
        assert stream.result().tokens == bed.stock(*row, 8 + 4 * i)


def test_row_that_needs_the_whole_budget_runs_alone(llama: Bed) -> None:
    prompt = llama.tokens("abc")
    budget = (len(prompt) + 9) * llama.generator()._model.token_bytes.own
    generator = llama.generator(cache_bytes=budget)
    rows = [("t/two", "abc", settings(10)), ("t/eight", "abc", settings(10)), ("t/two", "abc", settings(11))]
    fits, waits, never = generator.generate(rows)
    assert [row.tokens for row in (fits, waits) if isinstance(row, Generated)] == [
        llama.stock("t/two", "abc", 10), llama.stock("t/eight", "abc", 10)]
    assert isinstance(never, Failure)
    assert f"the cache has {budget:,}" in str(never.error)


def test_cancel_frees_its_memory_at_once_and_leaves_the_others(llama: Bed) -> None:
    generator = llama.generator()
    long, short = generator.submit("t/two", "x" * 60, settings(30)), generator.submit("t/eight", "ab", settings(12))
    generator.step()
    before = generator.statistics().cache_bytes
    long.cancel()
    assert generator.statistics().cache_bytes < before / 3
    assert short.result().tokens == llama.stock("t/eight", "ab", 12)
    cancelled = long.result()
    assert cancelled.finish_reason == "cancelled"
    assert cancelled.tokens == llama.stock("t/two", "x" * 60, len(cancelled.tokens))
    assert not generator._model.adapters._pins


def test_row_cancelled_while_it_waits_never_runs(llama: Bed) -> None:
    generator = llama.generator(max_rows=1)
    first, second = (generator.submit("t/two", "ab", settings(4)) for _ in range(2))
    generator.step()
    second.cancel()
    second.cancel()
    first.result()
    assert not generator.step()
    assert second.result().tokens == []
    assert generator.statistics().n_rows == 2


def test_rows_end_on_the_bytes_they_began_with_when_a_version_is_replaced(bed_of: Any, tmp_path: Path) -> None:
    bed = bed_of("llama")
    registry = Registry(tmp_path / "registry")
    old, new = (write_lora(tmp_path / str(seed), bed.base, Recipe(seed=seed)) for seed in (21, 22))
    registry.publish(old, "t/moves")
    generator = Generator(bed.base, registry, settings=bed.settings)
    before = generator.submit("t/moves", "my card", settings(16))
    next(before)
    registry.publish(new, "t/moves")
    after = generator.submit("t/moves", "my card", settings(16))
    ids = bed.tokens("my card")
    assert before.result().tokens == stock_tokens(stock_lm(bed.base.source.folder, old), ids, 16)
    assert after.result().tokens == stock_tokens(stock_lm(bed.base.source.folder, new), ids, 16)
    assert (before.result().version, after.result().version) == ("t/moves@1", "t/moves@2")
    assert before.result().digest != after.result().digest


def test_more_adapters_than_slots_take_turns_and_stay_right(llama: Bed) -> None:
    generator = llama.generator(max_slots=1)
    rows = [(reference, "my card", settings(6)) for reference in ("t/two", "t/eight", None, "t/dora", "t/two")]
    found = generator.generate(rows)
    assert [row.tokens for row in found if isinstance(row, Generated)] == [
        llama.stock(reference, text, 6) for reference, text, _ in rows]
    assert generator.statistics().n_evictions >= 2


def test_rows_at_fault_fail_alone_with_their_own_error(llama: Bed, bed_of: Any, tmp_path: Path) -> None:
    other = load_base(str(write_language_model(tmp_path / "other", "llama", seed=9)), cache=tmp_path / "cache")
    registry = Registry(tmp_path / "registry")
    registry.publish(llama.adapters["t/two"], "t/two")
    registry.publish(write_lora(tmp_path / "foreign", other, Recipe()), "t/foreign")
    generator = Generator(llama.base, registry, settings=llama.settings)
    answers = generator.generate([
        ("t/two", "my card", settings(5)), ("t/absent", "my card"), ("t/foreign", "my card"), ("t/two", "  "),
        ("t/two", "x" * MAX_POSITIONS), ("t/two", [{"role": "user"}]), ("t/two", 7), (None, "my card", settings(5))])
    errors = [type(answer.error) for answer in answers if isinstance(answer, Failure)]
    assert errors == [AdapterNotFound, BaseMismatch, *[PredictionError] * 4]
    assert [answer.tokens for answer in answers if isinstance(answer, Generated)] == [
        llama.stock("t/two", "my card", 5), llama.stock(None, "my card", 5)]
    assert f"the base takes {MAX_POSITIONS}" in str(answers[4].error if isinstance(answers[4], Failure) else "")


def test_adapter_for_another_task_is_refused_by_name(llama: Bed, tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "folder", llama.base, Recipe())
    manifest = json.loads((folder / "adapterhub.json").read_text())
    (folder / "adapterhub.json").write_text(json.dumps(manifest | {"task": "text2text-generation"}))
    registry = Registry(tmp_path / "registry")
    registry.publish(folder, "t/other-task")
    stream = Generator(llama.base, registry, settings=llama.settings).submit("t/other-task", "ab")
    with pytest.raises(PredictionError, match="text2text-generation"):
        next(stream)


def test_chat_goes_through_the_bases_template(llama: Bed) -> None:
    messages = [{"role": "user", "content": "hi"}]
    answer = llama.generator().generate([("t/two", messages, settings(6))])[0]
    assert isinstance(answer, Generated)
    assert answer.tokens == stock_tokens(stock_lm(llama.base.source.folder, llama.adapters["t/two"]),
                                         llama.tokens("user: hi\nassistant: ")[1:], 6)


def test_base_without_a_language_model_head_is_refused(tmp_path: Path) -> None:
    base = load_base(str(write_tiny_base(tmp_path / "bert")), cache=tmp_path / "cache")
    with pytest.raises(BaseNotFound, match="no language-model head"):
        Generator(base, Registry(tmp_path / "registry"))


def test_readers_in_several_threads_each_get_their_own_row(llama: Bed) -> None:
    generator = llama.generator()
    found: dict[int, list[int]] = {}

    def read(i: int) -> None:
        found[i] = [piece.token for piece in generator.submit(ROWS[i][0], ROWS[i][1], settings(10))]
    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(ROWS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(len(ROWS))] == [llama.stock(*row, 10) for row in ROWS]


def test_broken_step_ends_its_rows_and_lets_later_ones_run(llama: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = llama.generator()
    broken = generator.submit("t/two", "my card", settings(5))
    with monkeypatch.context() as patch:
        patch.setattr(generator._model.model, "forward", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            generator.step()
    with pytest.raises(AdapterHubError, match="ZeroDivisionError"):
        broken.result()
    assert generator.submit("t/two", "my card", settings(5)).result().tokens == llama.stock("t/two", "my card", 5)
    assert not generator._model.adapters._pins


def test_load_that_breaks_ends_its_own_row_and_not_the_generator(llama: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = llama.generator()
    broken, other = generator.submit("t/two", "my card", settings(5)), generator.submit(None, "my card", settings(5))
    with monkeypatch.context() as patch:
        patch.setattr(generator._model.adapters, "load", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            generator.step()
        assert isinstance(broken.outcome(), Failure)
        assert generator.step()  # the next step does not meet it again
    assert other.result().tokens == llama.stock(None, "my card", 5)
    assert generator.submit("t/two", "my card", settings(5)).result().tokens == llama.stock("t/two", "my card", 5)
