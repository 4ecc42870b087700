"""A step's memory and time over batch sizes and lengths, measured beside what was estimated for them."""

import itertools
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.bases.load import Base
from adapterhub.costs.arms import Arm, find_arm, settings_on
from adapterhub.costs.calibrate import N_LAYERS
from adapterhub.costs.cell import N_LABELS, TASK
from adapterhub.costs.estimate import available_memory_bytes, estimate
from adapterhub.costs.shadow import StepShape, made_up
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Needed:
    """Bytes that one size needs, counted ahead."""

    step: int
    """The measured step's peak."""
    process: int
    """The same with the bases beside it from which its time is drawn out, or a bound of it that fits."""


def measure_grid(suite: Suite, base_name: str, settings: Settings, show: ShowProgress) -> list[GridCell]:
    """Measure the suite's arms on a base at each batch size and length, in turn, and estimate each.

    Memory is estimated before; time from steps of fewer layers that are taken between those that are measured.
    What does not fit into memory by its estimate is left out, and arms that do not fit beside each other come one after
    the other. Raises TrainingError as `turns.run_arms`.
    """
    base, free = open_base(base_name, settings.cache), available_memory_bytes()
    ahead: dict[str, dict[tuple[int, int], _Needed]] = {}
    with waiting(f"estimating steps on {base_name}"):
        for name in suite.grid_arms:
            found = {size: _needed(find_arm(name), base, size, free)
                     for size in itertools.product(suite.grid_batches, suite.grid_lengths)}
            ahead[name] = {size: needed for size, needed in found.items() if needed.process <= free}
    most = {name: max(needed.process for needed in sizes.values()) for name, sizes in ahead.items() if sizes}
    return [cell for group in that_fit(most, free)
            for cell in _measured(base, base_name, {name: ahead[name] for name in group}, show)]


def that_fit(needed: Mapping[str, int], free: int) -> list[list[str]]:
    """Divide names into groups, in their order, of which each needs at most `free` bytes at once, if one does."""
    groups: list[list[str]] = []
    for name in needed:
        if not groups or sum(needed[one] for one in (*groups[-1], name)) > free:
            groups.append([])
        groups[-1].append(name)
    return groups


def _measured(base: Base, base_name: str, ahead: Mapping[str, Mapping[tuple[int, int], _Needed]],
              show: ShowProgress) -> list[GridCell]:
    cells = []
    with ExitStack() as stack:
        running = [stack.enter_context(started("adapterhub.costs.cell", {
            "base": base_name, "method": find_arm(name).method, "more": settings_on(find_arm(name), base),
            "cells": list(sizes)}, name, Path(name))) for name, sizes in ahead.items()]
        n_steps = sum(int(process.listen()["n_steps"]) for process in running)
        progress = stack.enter_context(show("steps of each size", n_steps))
        for n_done, process in in_turn(running):
            progress.update(n_done, process.name)
            if process.result is not None:
                cells += [_cell(base_name, process.name, cell, ahead[process.name]) for cell in process.result["cells"]]
    return cells


def _cell(base: str, arm: str, measured: dict[str, Any], ahead: Mapping[tuple[int, int], _Needed]) -> GridCell:
    size = measured["batch_size"], measured["length"]
    return GridCell(base=base, arm=arm, estimated_memory_bytes=ahead[size].step, **measured)


def _needed(arm: Arm, base: Base, size: tuple[int, int], free: int) -> _Needed:
    batch_size, length = size
    config = TrainConfig(task=TASK, data="made up", output=Path("nowhere"), method=arm.method, epochs=1,
                         batch_size=batch_size, max_length=length, **settings_on(arm, base))
    task, shape = find_task(TASK), StepShape(batch_size=batch_size, length=length, n_labels=N_LABELS)
    step = estimate(config, base, task, shape).peak_memory_bytes
    if (most := step * (1 + len(N_LAYERS))) <= free:  # a base of fewer layers needs no more, and need not be counted
        return _Needed(step=step, process=most)
    return _Needed(step=step, process=step + sum(
        estimate(config, made_up(base, n_layers=n), task, shape).peak_memory_bytes for n in N_LAYERS))
