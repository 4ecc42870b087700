"""What is counted without values is what a real step has: bytes by part, tensors of the file, nothing loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from adapterhub.bases.load import Base
from adapterhub.costs.calibrate import Speed, measure_speed
from adapterhub.costs.estimate import estimate, require_room, tensor_file_bytes
from adapterhub.costs.shadow import Ledger, StepShape, count_step
from adapterhub.errors import TrainingError
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.held import hold_frozen
from adapterhub.training.methods import build_model
from adapterhub.training.optimizer import build_optimizer

TASK = find_task("text-classification")
SHAPE = StepShape(batch_size=4, length=16, n_labels=3)


def config_of(base: Base, **changes: Any) -> TrainConfig:
    return TrainConfig(task=TASK.name, data="rows", output=Path("out"), base=str(base.source.folder), **changes)


@pytest.mark.parametrize("changes", [{"method": "full"}, {"rank": 4}, {"method": "dora", "rank": 2}, {"method": "ia3"},
                                     {"rank": 2, "targets": "query,value"}], ids=str)
def test_counted_parts_are_a_real_steps(tiny_base: Base, changes: dict[str, Any]) -> None:
    config = config_of(tiny_base, precision="float32", **changes)
    count = count_step(config, tiny_base, TASK, SHAPE)
    trained = build_model(config, tiny_base, TASK, ["a", "b", "c"])
    optimizer = build_optimizer(config, trained)
    ids = torch.zeros(4, 16, dtype=torch.long)
    trained.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum().backward()
    optimizer.step()
    gradients = [value.grad for value in trained.parameters() if value.grad is not None]
    moments = [value for entry in optimizer.state.values() for value in entry.values()]
    assert count.parts.weights == sum(4 * value.numel() for value in trained.model.parameters())
    assert count.parts.gradients == sum(4 * value.numel() for value in gradients)
    assert count.parts.optimizer == sum(4 * value.numel() for value in moments)
    assert count.trained_parameters == trained.n_trained


def test_weights_that_a_run_holds_in_bfloat16_are_counted_so(tiny_base: Base) -> None:
    config = config_of(tiny_base, precision="bfloat16", rank=4)
    trained = build_model(config, tiny_base, TASK, ["a", "b", "c"])
    assert hold_frozen(config, trained)
    assert count_step(config, tiny_base, TASK, SHAPE).parts.weights == sum(
        value.element_size() * value.numel() for value in trained.model.parameters())


@pytest.mark.parametrize("changes", [{"method": "full"}, {"rank": 4}], ids=str)
def test_step_is_counted_in_the_precision_that_the_run_asks_for(tiny_base: Base, changes: dict[str, Any]) -> None:
    wide, narrow = (count_step(config_of(tiny_base, precision=precision, **changes), tiny_base, TASK, SHAPE).parts
                    for precision in ("float32", "bfloat16"))
    assert wide.weights == narrow.weights if changes.get("method") == "full" else wide.weights > narrow.weights
    assert wide.activations > 1.1 * narrow.activations


def test_checkpointing_keeps_fewer_activations_and_more_rows_keep_more(tiny_base: Base) -> None:
    plain = count_step(config_of(tiny_base, rank=2), tiny_base, TASK, SHAPE)
    spared = count_step(config_of(tiny_base, rank=2, gradient_checkpointing=True), tiny_base, TASK, SHAPE)
    double = count_step(config_of(tiny_base, rank=2), tiny_base, TASK, StepShape(batch_size=8, length=16, n_labels=3))
    assert spared.parts.activations < plain.parts.activations / 2
    assert plain.parts.activations < double.parts.activations < 2 * plain.parts.activations  # casts of weights stay
    assert spared.flops > plain.flops


def test_lean_counts_without_what_leaves_memory(tiny_base: Base) -> None:
    plain = count_step(config_of(tiny_base, rank=2), tiny_base, TASK, SHAPE)
    lean = count_step(config_of(tiny_base, rank=2, upper_layers=1, remember_lower=True), tiny_base, TASK, SHAPE)
    assert lean.parts.weights < plain.parts.weights
    assert lean.parts.activations < plain.parts.activations
    assert lean.total_parameters < plain.total_parameters  # it adapts one layer of two


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_file_is_estimated_to_the_byte(tmp_path: Path, dtype: torch.dtype) -> None:
    shapes = {"base_model.model.a.weight": (3, 5), "b": (7,), "c.é": (2, 2, 2), "d": ()}
    save_file({name: torch.zeros(shape, dtype=dtype) for name, shape in shapes.items()}, tmp_path / "file",
              metadata={"format": "pt"})
    assert tensor_file_bytes(shapes, dtype) == (tmp_path / "file").stat().st_size


def test_adapters_file_is_estimated_to_the_byte(tiny_base: Base, tiny_adapters: dict[str, Path]) -> None:
    for name, changes in (("intents3", {"rank": 8}), ("query-only", {"rank": 2, "targets": "attention.self.query"})):
        found = estimate(config_of(tiny_base, dtype="float32", **changes), tiny_base, TASK, SHAPE)
        assert found.file_bytes == (tiny_adapters[name] / "adapter_model.safetensors").stat().st_size


def test_whole_run_is_estimated_from_its_rows(tiny_base: Base) -> None:
    config = config_of(tiny_base, rank=2, epochs=3, batch_size=4, upper_layers=1, remember_lower=True)
    found = estimate(config, tiny_base, TASK, SHAPE, speed=Speed(step_seconds=2.0, pass_seconds=0.5), n_rows=10)
    assert found.n_steps == 9
    assert found.total_seconds == 9 * 2.0 + 3 * 0.5  # the lower layers run over the rows once


def test_calibration_draws_a_line_over_layers(tiny_base: Base) -> None:
    config = config_of(tiny_base, rank=2)
    small = measure_speed(config, tiny_base, TASK, StepShape(batch_size=2, length=8, n_labels=3), seconds=0.2)
    large = measure_speed(config, tiny_base, TASK, StepShape(batch_size=64, length=64, n_labels=3), seconds=0.2)
    assert 0 < small.step_seconds < large.step_seconds
    assert small.pass_seconds == 0.0


def test_run_that_does_not_fit_is_refused_before_it_is_loaded(tiny_base: Base) -> None:
    count = count_step(config_of(tiny_base, rank=2), tiny_base, TASK, SHAPE)
    require_room("LoRA", count, available_bytes=count.peak_bytes)
    with pytest.raises(TrainingError, match=r"LoRA needs about 0\.0 GB, 0\.0 GB are free.*lean"):
        require_room("LoRA", count, available_bytes=count.peak_bytes - 1)


def test_ledger_counts_a_storage_once_and_until_it_is_freed() -> None:
    with Ledger([]) as ledger:
        one = torch.ones(1000)
        view = one.view(10, 100)
        assert ledger.live_bytes == 4000
        del one
        assert ledger.live_bytes == 4000
        del view
    assert (ledger.live_bytes, ledger.peak_bytes) == (0, 4000)
