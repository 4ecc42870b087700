"""How fast this machine takes a run's steps: a few steps of a base made up with fewer layers, drawn out to all of them.

Layers repeat, so the time of a step is a straight line over their number. Neither the base's weights nor memory for
more than a few of its layers are needed.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from adapterhub.bases.load import Base
from adapterhub.bases.processor import keep_few_kernels
from adapterhub.costs.shadow import StepShape, loss_of, made_up
from adapterhub.tasks.task import Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.held import hold_frozen
from adapterhub.training.methods import build_model
from adapterhub.training.optimizer import build_optimizer
from adapterhub.training.ranks import training_device
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


class Calibration:
    """Steps of the two made-up bases, one of each at a time: what else the machine does then touches both alike."""

    def __init__(self, config: TrainConfig, base: Base, task: Task, shape: StepShape) -> None:
        """Make the bases and warm up. Raises as `build_model`."""
        keep_few_kernels()
        device = training_device()
        n_layers = int(base.config.num_hidden_layers)
        self._trained = min(n_layers, config.upper_layers or n_layers) if config.remember_lower else n_layers
        self._left_out = n_layers - self._trained
        self._steps = {n: _Timed(_step_of(config, made_up(base, n_layers=n), task, shape, n, device), device)
                       for n in {min(n, self._trained) for n in N_LAYERS}}
        self._passes = {n: _Timed(_pass_of(config, made_up(base, n_layers=n), task, shape, device), device)
                        for n in {min(n, n_layers) for n in N_LAYERS}} if self._left_out else {}

    def take(self) -> float:
        """Take each step and each pass once; return the seconds that all of them took."""
        return sum(work.take() for work in (*self._steps.values(), *self._passes.values()))

    def speed(self) -> Speed:
        """Draw what was taken so far out to all layers."""
        return Speed(step_seconds=_line(self._steps, self._trained),
                     pass_seconds=_line(self._passes, self._left_out) if self._passes else 0.0)


def measure_speed(config: TrainConfig, base: Base, task: Task, shape: StepShape, seconds: float = SECONDS) -> Speed:
    """Measure steps of `shape` for about `seconds`. Raises as `build_model`."""
    calibration = Calibration(config, base, task, shape)
    n_taken, taken = 0, 0.0
    while n_taken < LEAST_STEPS or taken < seconds:
        taken += calibration.take()
        n_taken += 1
    return calibration.speed()


class _Timed:
    """Work on a device, and the seconds of each time that it was done."""

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        self._work, self._device = work, torch.get_device_module(device)
        self._taken: list[float] = []
        for _ in range(WARM_UPS):
            self.take()
        self._taken.clear()

    def take(self) -> float:
        """Do it once, to its end on the device."""
        started = time.perf_counter()
        self._work()
        self._device.synchronize()
        self._taken.append(time.perf_counter() - started)
        return self._taken[-1]

    @property
    def seconds(self) -> float:
        """The lower quartile: other programs only lengthen it."""
        return statistics.quantiles(self._taken, n=4, method="inclusive")[0]


def _line(timed: Mapping[int, _Timed], wanted: int) -> float:
    few, more = min(timed), max(timed)
    low, high = timed[few].seconds, timed[more].seconds
    return low if few == more else low + (high - low) / (more - few) * (wanted - few)


def _step_of(config: TrainConfig, base: Base, task: Task, shape: StepShape, n_layers: int,
             device: torch.device) -> Callable[[], None]:
    shape = replace(shape, batch_size=max(1, shape.batch_size // config.accumulation))
    config = replace(config, upper_layers=n_layers if config.upper_layers else None)
    trained = build_model(config, base, task, [str(i) for i in range(shape.n_labels)])
    model: Any = trained.model
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if config.remember_lower:
        leave_out_lower(model, _Zeros(int(base.config.hidden_size)))
    hold_frozen(config, trained)
    model.to(device)
    optimizer = build_optimizer(config, trained)
    model.train()

    def step() -> None:
        for _ in range(config.accumulation):
            loss_of(config, model, task, base, shape).backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return step


def _pass_of(config: TrainConfig, base: Base, task: Task, shape: StepShape,
             device: torch.device) -> Callable[[], None]:
    config = replace(config, precision="auto")  # whatever the steps are computed in
    model: Any = base.load_with_head(task.auto_class, n_labels=shape.n_labels).eval().to(device)

    def run() -> None:
        with torch.inference_mode():
            loss_of(config, model, task, base, shape)
    return run


class _Zeros:
    """Remembered outputs that are all zero."""

    def __init__(self, width: int) -> None:
        self.recalled = torch.empty(0)
        self._width = width

    def recall(self, input_ids: torch.Tensor) -> None:
        """Give zeros of the batch's shape."""
        self.recalled = torch.zeros(*input_ids.shape, self._width, device=input_ids.device)
