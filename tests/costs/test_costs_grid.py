"""Sizes of a step are measured by the trainer's own loop, and estimated without it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import masking_utils

from adapterhub.bases.load import Base
from adapterhub.costs import calibrate, grid
from adapterhub.costs.calibrate import Calibration, measure_speed
from adapterhub.costs.cell import timed_steps
from adapterhub.costs.grid import measure_grid, that_fit
from adapterhub.costs.shadow import StepShape, made_up
from adapterhub.costs.suites import quick_suite
from adapterhub.progress import Silent
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig

TASK = find_task("text-classification")


def test_each_size_is_measured_and_estimated(tiny_base_folder: Path, tiny_settings: Settings) -> None:
    suite = replace(quick_suite(), grid_arms=("lora-r8",), grid_batches=(8, 32), grid_lengths=(64,))
    shown: list[tuple[str, int]] = []

    @contextmanager
    def show(title: str, total: int) -> Iterator[Silent]:
        shown.append((title, total))
        yield Silent()
    small, large = measure_grid(suite, str(tiny_base_folder), tiny_settings, show)
    assert [(cell.arm, cell.batch_size, cell.length) for cell in (small, large)] == [
        ("lora-r8", 8, 64), ("lora-r8", 32, 64)]
    for what in ("peak_memory_bytes", "step_seconds", "estimated_memory_bytes", "estimated_seconds"):
        assert 0 < getattr(small, what) < getattr(large, what), what
    assert shown == [("steps of each size", 3 + timed_steps(8, 64) + 3 + timed_steps(32, 64))]


def test_arms_that_do_not_fit_beside_each_other_come_one_after_the_other() -> None:
    assert that_fit({"full": 9, "lora": 4, "lean": 3, "dora": 6}, 10) == [["full"], ["lora", "lean"], ["dora"]]
    assert that_fit({"full": 9, "lora": 4}, 100) == [["full", "lora"]]
    assert that_fit({}, 100) == []


def test_size_that_does_not_fit_is_left_out(tiny_base_folder: Path, tiny_settings: Settings,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[tuple[int, int]]]] = []
    monkeypatch.setattr(grid, "available_memory_bytes", lambda: 250_000_000)
    monkeypatch.setattr(grid, "_measured", lambda _base, _name, ahead, _show: started.extend(
        (name, list(sizes)) for name, sizes in ahead.items()) or [])
    suite = replace(quick_suite(), grid_arms=("full", "lora-r8"), grid_batches=(4, 4096), grid_lengths=(64,))
    assert measure_grid(suite, str(tiny_base_folder), tiny_settings, lambda *_: pytest.fail("no bar")) == []
    assert started == [("full", [(4, 64)]), ("lora-r8", [(4, 64)])]


def test_short_steps_are_timed_more_often() -> None:
    assert [timed_steps(2, 16), timed_steps(8, 16), timed_steps(32, 128)] == [33, 16, 9]


def test_line_goes_through_steps_that_are_taken_in_turn(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer takes a second, what is beside the layers half a one; the machine is busy in every other turn."""
    clock, taken = [0.0], list[int]()

    def step_of(*given: Any) -> Any:
        n_layers = given[-2]

        def step() -> None:
            clock[0] += (0.5 + n_layers) * (1 if len(taken) % 4 < 2 else 7)
            taken.append(n_layers)
        return step
    monkeypatch.setattr(calibrate, "_step_of", step_of)
    monkeypatch.setattr(calibrate, "WARM_UPS", 0)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    config = TrainConfig(task=TASK.name, data="rows", output=Path("out"), base=str(tiny_base.source.folder))
    speed = measure_speed(config, made_up(tiny_base, n_layers=12), TASK,
                          StepShape(batch_size=2, length=8, n_labels=3), seconds=0.0)
    assert speed.step_seconds == pytest.approx(12.5)
    assert taken == [1, 3] * calibrate.LEAST_STEPS


@pytest.mark.parametrize("changes", [{"method": "full"}, {"rank": 2}, {"rank": 2, "gradient_checkpointing": True},
                                     {"rank": 2, "upper_layers": 1, "remember_lower": True}], ids=str)
def test_calibration_lies_on_the_device_that_would_train(tiny_base: Base, changes: dict[str, Any],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """The device without values refuses what lies elsewhere, as a GPU does."""
    monkeypatch.setattr(calibrate, "training_device", lambda: torch.device("meta"))
    monkeypatch.setattr(torch, "get_device_module", lambda device: torch.cpu if device.type == "meta" else None)
    monkeypatch.setattr(masking_utils, "_ignore_bidirectional_mask_sdpa", lambda *_, **__: False)  # it reads a value
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda _, *given, **named: autocast("cpu", *given, **named))
    config = TrainConfig(task=TASK.name, data="rows", output=Path("out"), base=str(tiny_base.source.folder), **changes)
    calibration = Calibration(config, tiny_base, TASK, StepShape(batch_size=2, length=8, n_labels=3))
    assert calibration.take() > 0 and calibration.take() > 0
    assert (calibration.speed().pass_seconds > 0) == ("remember_lower" in changes)


def test_drawn_weights_of_a_llama_are_measured_without_a_base_on_disk(tiny_settings: Settings) -> None:
    """The way of the suite scale, with a shape that any machine holds."""
    suite = replace(quick_suite(), grid_arms=("lean",), grid_batches=(32,), grid_lengths=(16,))
    cell, = measure_grid(suite, "shape:llama-tiny", tiny_settings, lambda *_: nullcontext(Silent()))
    assert (cell.base, cell.arm) == ("shape:llama-tiny", "lean")
    assert min(cell.peak_memory_bytes, cell.estimated_memory_bytes, cell.step_seconds, cell.estimated_seconds) > 0
