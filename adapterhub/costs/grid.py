"""A step's memory and time over batch sizes and lengths, measured beside what was estimated for them."""

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.bases.load import Base
from adapterhub.costs.arms import Arm, find_arm, settings_on
from adapterhub.costs.cell import N_LABELS, TASK
from adapterhub.costs.estimate import available_memory_bytes, estimate
from adapterhub.costs.shadow import StepShape
from adapterhub.costs.shapes import open_base
from adapterhub.costs.suites import Suite
from adapterhub.costs.turns import in_turn, started
from adapterhub.progress import ShowProgress, waiting
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One arm at one batch size and length: measured, and estimated."""

    base: str
    arm: str
    batch_size: int
    length: int
    peak_memory_bytes: int
    step_seconds: float
    estimated_memory_bytes: int
    estimated_seconds: float

    @property
    def memory_error(self) -> float:
        """The estimate's error, as a share of what was measured."""
        return self.estimated_memory_bytes / self.peak_memory_bytes - 1

    @property
    def time_error(self) -> float:
        """The estimate's error, as a share of what was measured."""
        return self.estimated_seconds / self.step_seconds - 1


def measure_grid(suite: Suite, base_name: str, settings: Settings, show: ShowProgress) -> list[GridCell]:
    """Measure the suite's arms on a base at each batch size and length, in turn, and estimate each.

    Memory is estimated before; time from steps of fewer layers that are taken between those that are measured.
    What does not fit into memory by its estimate is left out. Raises TrainingError as `turns.run_arms`.
    """
    base = open_base(base_name, settings.cache)
    ahead: dict[str, dict[tuple[int, int], int]] = {}
    with waiting(f"estimating steps on {base_name}"):
        for arm in map(find_arm, suite.grid_arms):
            found = {cell: _estimated(arm, base, cell) for cell in itertools.product(
                suite.grid_batches, suite.grid_lengths)}
            ahead[arm.name] = {cell: one for cell, one in found.items() if one is not None}
    measured = []
    with ExitStack() as stack:
        running = [stack.enter_context(started("adapterhub.costs.cell", {
            "base": base_name, "method": find_arm(name).method, "more": settings_on(find_arm(name), base),
            "cells": list(cells)}, name, Path(name))) for name, cells in ahead.items() if cells]
        n_steps = sum(int(process.listen()["n_steps"]) for process in running)
        progress = stack.enter_context(show("steps of each size", n_steps))
        for n_done, process in in_turn(running):
            progress.update(n_done, process.name)
            if process.result is not None:
                measured += [_cell(base_name, process.name, cell, ahead[process.name])
                             for cell in process.result["cells"]]
    return measured


def _cell(base: str, arm: str, measured: dict[str, Any], ahead: dict[tuple[int, int], int]) -> GridCell:
    size = measured["batch_size"], measured["length"]
    return GridCell(base=base, arm=arm, estimated_memory_bytes=ahead[size], **measured)


def _estimated(arm: Arm, base: Base, cell: tuple[int, int]) -> int | None:
    """Return the bytes that a step will take, None where it will not fit into memory."""
    batch_size, length = cell
    config = TrainConfig(task=TASK, data="made up", output=Path("nowhere"), method=arm.method, epochs=1,
                         batch_size=batch_size, max_length=length, **settings_on(arm, base))
    task, shape = find_task(TASK), StepShape(batch_size=batch_size, length=length, n_labels=N_LABELS)
    found = estimate(config, base, task, shape)
    return found.peak_memory_bytes if found.peak_memory_bytes <= available_memory_bytes() else None
