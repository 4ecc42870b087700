"""How fast this machine takes a run's steps: a few steps of a base made up with fewer layers, drawn out to all of them.

Layers repeat, so the time of a step is a straight line over their number. Neither the base's weights nor memory for
more than a few of its layers are needed.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from adapterhub.bases.load import Base
from adapterhub.bases.processor import has_native_bfloat16, keep_few_kernels
from adapterhub.costs.shadow import StepShape, loss_of, made_up
from adapterhub.tasks.task import Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.held import hold_frozen
from adapterhub.training.methods import build_model
from adapterhub.training.optimizer import build_optimizer
from adapterhub.training.remembered import leave_out_lower

N_LAYERS = (1, 3)
"""Layers of the two made-up bases between which the line is drawn."""
LEAST_STEPS, WARM_UPS = 5, 2
SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds that work takes on this machine."""

    step_seconds: float
    """One step of the optimiser with all of its rows."""
    pass_seconds: float
    """One pass of as many rows through the layers that are left out and remembered; 0 where none are."""


def measure_speed(config: TrainConfig, base: Base, task: Task, shape: StepShape, seconds: float = SECONDS) -> Speed:
    """Measure steps of `shape` for about `seconds`. Raises as `build_model`."""
    keep_few_kernels()
    n_layers = int(base.config.num_hidden_layers)
    trained = min(n_layers, config.upper_layers or n_layers) if config.remember_lower else n_layers
    few, more = (min(n, trained) for n in N_LAYERS)
    share = seconds / (4 if config.remember_lower else 2)
    steps = {n: _seconds_of(_step_of(config, made_up(base, n_layers=n), task, shape, n), share) for n in {few, more}}
    whole = _line(steps[few], steps[more], few, more, trained)
    if not config.remember_lower or trained == n_layers:
        return Speed(step_seconds=whole, pass_seconds=0.0)
    few, more = (min(n, n_layers) for n in N_LAYERS)
    passes = {n: _seconds_of(_pass_of(made_up(base, n_layers=n), task, shape), share) for n in {few, more}}
    return Speed(step_seconds=whole, pass_seconds=_line(passes[few], passes[more], few, more, n_layers - trained))


def _line(low: float, high: float, few: int, more: int, wanted: int) -> float:
    return low if few == more else low + (high - low) / (more - few) * (wanted - few)


def _step_of(config: TrainConfig, base: Base, task: Task, shape: StepShape, n_layers: int) -> Callable[[], object]:
    shape = replace(shape, batch_size=max(1, shape.batch_size // config.accumulation))
    config = replace(config, upper_layers=n_layers if config.upper_layers else None)
    trained = build_model(config, base, task, [str(i) for i in range(shape.n_labels)])
    model: Any = trained.model
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if config.remember_lower:
        leave_out_lower(model, _Zeros(int(base.config.hidden_size)))
    hold_frozen(config, trained)
    optimizer = build_optimizer(config, trained)
    model.train()

    def step() -> None:
        for _ in range(config.accumulation):
            loss_of(model, task, base, shape).backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return step


def _pass_of(base: Base, task: Task, shape: StepShape) -> Callable[[], object]:
    model = base.load_with_head(task.auto_class, n_labels=shape.n_labels).eval()

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=has_native_bfloat16()):
            loss_of(model, task, base, shape)
    return run


def _seconds_of(work: Callable[[], object], seconds: float) -> float:
    """Return the lower quartile of runs in about `seconds`: other programs only lengthen them."""
    for _ in range(WARM_UPS):
        work()
    taken: list[float] = []
    while len(taken) < LEAST_STEPS or sum(taken) < seconds:
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.quantiles(taken, n=4, method="inclusive")[0]


class _Zeros:
    """Remembered outputs that are all zero."""

    def __init__(self, width: int) -> None:
        self.recalled = torch.empty(0)
        self._width = width

    def recall(self, input_ids: torch.Tensor) -> None:
        """Give zeros of the batch's shape."""
        self.recalled = torch.zeros(*input_ids.shape, self._width)
