"""A mixed batch in one pass gives every row what stock PEFT gives it alone, whatever was loaded before."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stock import stock_model, stock_outputs

from adapterhub.adapter.folder import read_folder
from adapterhub.registry import Registry
from adapterhub.runtime.engine import Runtime

TOLERANCE = 1e-5
"""float32 sums in another order: the runtime folds the scaling into B and pads rows to the longest."""
ROWS: list[tuple[str | None, Any]] = [
    ("t/intents3", "where is my card"), (None, "a bare text"), ("t/entities", ["anna", "is", "in", "rome"]),
    ("t/pairs", {"query": "where is card card", "answer": "card about card"}), ("t/intents5", "soup"),
    ("t/query-only", "what about the new loan rate, please"), ("t/intents3", "my trip to oslo " * 4),
    ("t/pairs", "one text"), ("t/entities", ["zanzibar", "new"]), ("t/intents5", ("ball", "team goal")),
]


@pytest.fixture(scope="session")
def stock(tiny_base_folder: Path, tiny_adapters: dict[str, Path]) -> Callable[[str | None, Any], list[torch.Tensor]]:
    """Answer one row by stock PEFT, one tensor per text."""
    models = {None: stock_model(tiny_base_folder, "sentence-similarity", 0, None)}

    def answer(folder: Any, row: Any) -> list[torch.Tensor]:
        if folder not in models:
            manifest = read_folder(folder).manifest
            models[folder] = stock_model(tiny_base_folder, manifest.task, len(manifest.labels), folder)
        model = models[folder]
        if isinstance(row, dict):
            return [stock_outputs(tiny_base_folder, model, text) for text in row.values()]
        return [stock_outputs(tiny_base_folder, model, *(row if isinstance(row, tuple) else (row,)))]

    def by_reference(reference: str | None, row: Any) -> list[torch.Tensor]:
        return answer(tiny_adapters[reference.removeprefix("t/")] if reference else None, row)
    return by_reference


def outputs_of(runtime: Runtime, rows: list[tuple[str | None, Any]],
               monkeypatch: pytest.MonkeyPatch) -> list[list[torch.Tensor]]:
    """Predict, and return the tensors that the answers were decoded from."""
    taken: list[list[torch.Tensor]] = []
    compute = runtime._shared.compute

    def keep(placed: Any) -> list[list[torch.Tensor]]:
        taken.extend(compute(placed))
        return taken
    with monkeypatch.context() as patch:
        patch.setattr(runtime._shared, "compute", keep)
        runtime.predict(rows)
    return taken


def assert_equal(found: list[list[torch.Tensor]], expected: list[list[torch.Tensor]]) -> None:
    for own, other in zip(found, expected, strict=True):
        for tensor, reference in zip(own, other, strict=True):
            torch.testing.assert_close(tensor, reference, rtol=TOLERANCE, atol=TOLERANCE)


def test_mixed_batch_equals_stock_peft_row_by_row(runtime_of: Any, stock: Any, monkeypatch: Any) -> None:
    runtime = runtime_of()
    found = outputs_of(runtime, ROWS, monkeypatch)
    assert_equal(found, [stock(*row) for row in ROWS])
    assert runtime.statistics().n_passes == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_row_alone_equals_its_row_in_the_mixed_batch(row: Any, runtime_of: Any, stock: Any, monkeypatch: Any) -> None:
    assert_equal(outputs_of(runtime_of(), [row], monkeypatch), [stock(*row)])


def test_answers_stay_equal_through_evictions(runtime_of: Any, stock: Any, monkeypatch: Any) -> None:
    runtime = runtime_of(max_slots=2)
    # Every ordered pair of adapters: large rank after small, few targets after all, a head of another task.
    for first, second in itertools.permutations([row for row in ROWS if row[0]][:6], 2):
        batch = [first, (None, "a bare text"), second]
        assert_equal(outputs_of(runtime, batch, monkeypatch), [stock(*row) for row in batch])
    assert runtime.statistics().n_evictions > 10
    assert runtime.statistics().n_resident == 2


def test_slot_keeps_nothing_of_its_old_adapter(runtime_of: Any, stock: Any, monkeypatch: Any) -> None:
    runtime = runtime_of(max_slots=1)
    rows = [("t/intents3", "my card"), ("t/query-only", "my card")]
    for row in rows:
        assert_equal(outputs_of(runtime, [row], monkeypatch), [stock(*row)])
    assert runtime.statistics().n_resident == 1


def test_growing_rank_keeps_the_adapters_that_are_there(runtime_of: Any, stock: Any, monkeypatch: Any) -> None:
    runtime = runtime_of()
    for reference in ("t/intents5", "t/entities", "t/query-only", "t/intents3"):  # ranks 2, 2, 2, 8
        runtime.load(reference)
    assert_equal(outputs_of(runtime, ROWS, monkeypatch), [stock(*row) for row in ROWS])


def test_batch_larger_than_one_pass_gives_the_same(runtime_of: Any, stock: Any, monkeypatch: Any) -> None:
    runtime = runtime_of(tokens_per_pass=40)
    assert_equal(outputs_of(runtime, ROWS, monkeypatch), [stock(*row) for row in ROWS])
    assert runtime.statistics().n_passes > 2


def test_moved_alias_answers_by_the_new_version_and_rolls_back(registry: Registry, runtime_of: Any, train_tiny: Any,
                                                               tiny_adapters: Any, tmp_path: Path) -> None:
    second = train_tiny(tmp_path / "second", "text-classification", "intents3", rank=4, seed=9)
    registry.promote("t/intents3@1", "production")
    runtime = runtime_of()
    row = ("t/intents3@production", "where is my card")
    first_answer = runtime.predict([row])[0]
    registry.publish(second, "t/intents3")
    assert runtime.predict([row])[0] == first_answer
    registry.promote("t/intents3@2", "production")
    second_answer = runtime.predict([row])[0]
    registry.rollback("t/intents3@production")
    assert runtime.predict([row])[0] == first_answer
    assert (first_answer.version, second_answer.version) == ("t/intents3@1", "t/intents3@2")
    assert second_answer.digest == read_folder(second).digest
    assert first_answer.result["score"] != second_answer.result["score"]


def test_replaced_version_under_an_alias_equals_stock_peft(registry: Registry, runtime_of: Any, train_tiny: Any,
                                                           tiny_base_folder: Path, tmp_path: Path,
                                                           monkeypatch: Any) -> None:
    second = train_tiny(tmp_path / "second", "text-classification", "intents3", rank=4, seed=9)
    runtime = runtime_of(max_slots=1)
    runtime.predict([("t/intents3", "my loan")])
    registry.publish(second, "t/intents3")
    model = stock_model(tiny_base_folder, "text-classification", 3, second)
    assert_equal(outputs_of(runtime, [("t/intents3", "my loan")], monkeypatch),
                 [[stock_outputs(tiny_base_folder, model, "my loan")]])


def test_two_names_of_one_version_share_a_slot(registry: Registry, runtime_of: Any) -> None:
    registry.promote("t/intents3@1", "production")
    runtime = runtime_of(max_slots=1)
    answers = runtime.predict([("t/intents3@production", "my card"), ("t/intents3@1", "my card")])
    assert answers[0].result["score"] == pytest.approx(answers[1].result["score"], abs=TOLERANCE)
    assert answers[0].digest == answers[1].digest
    assert runtime.statistics().n_loads == 1


def test_frozen_base_stays_as_it_was(runtime_of: Any) -> None:
    def weights() -> Iterator[torch.Tensor]:
        return (value.clone() for name, value in runtime._shared._trunk.named_parameters())

    runtime = runtime_of(max_slots=2)
    before = list(weights())
    runtime.predict(ROWS[:2])
    runtime.predict(ROWS[4:6])
    assert all(torch.equal(old, new) for old, new in zip(before, weights(), strict=True))
