"""What a run came to: its figures, the best epoch's tensors, and which epoch is the best."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from adapterhub.adapter.directions import is_better
from adapterhub.errors import UnknownName
from adapterhub.tasks.task import Evaluation, Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.methods import State, TrainedModel


@dataclass(slots=True)
class Outcome:
    """What a run came to, so far."""

    state: State
    """The trained tensors at the best epoch; empty where no epoch ended."""
    best_epoch: int = 0
    """Counted from 1; 0 where no epoch ended."""
    metric: str = ""
    best_value: float = math.nan
    """NaN where nothing was measured."""
    epochs_done: int = 0
    n_steps: int = 0
    n_pieces: int = 1
    """Passes that a step's rows are split into: as the settings say, or more where memory did not suffice."""
    seconds: float = 0.0
    seconds_before: float = 0.0
    """Of these, in earlier processes of the same run."""
    is_interrupted: bool = False
    losses: list[float] = field(default_factory=list)
    """Mean per epoch."""
    epoch_metrics: list[dict[str, float]] = field(default_factory=list)
    """On the validation rows, per epoch; empty without them."""
    loss_so_far: float = 0.0
    """Sum over the steps of the epoch that runs."""
    broken_checkpoints: list[str] = field(default_factory=list)
    """Names of damaged ones that resuming passed over."""
    step_seconds: list[float] = field(default_factory=list)
    """Of this process; not kept in a checkpoint."""

    def as_plain(self) -> dict[str, Any]:
        """Return everything but tensors and step times, for a checkpoint."""
        return {part.name: getattr(self, part.name) for part in fields(self) if part.name not in _NOT_KEPT}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], state: State) -> "Outcome":
        """Return what `as_plain` wrote, with the best epoch's tensors."""
        return cls(state=state, **plain)


_NOT_KEPT = ("state", "step_seconds", "is_interrupted", "seconds_before")


def chosen_metric(config: TrainConfig, task: Task, evaluation: Evaluation) -> str:
    """Return the metric that chooses the best epoch: the one asked for, or the task's first that was measured.

    Raises UnknownName where the one asked for is not measured on such rows.
    """
    if config.metric is None:
        return next(name for name in task.metrics if name in evaluation.metrics)
    if config.metric not in evaluation.metrics:
        raise UnknownName("metric for these rows", config.metric, evaluation.metrics)
    return config.metric


def keep_best(outcome: Outcome, metric: str, value: float, trained: TrainedModel) -> None:
    """Take an epoch's state where it is better than all before it. An epoch without a metric is always the best."""
    if not metric or not outcome.metric or is_better(metric, value, outcome.best_value):
        outcome.state, outcome.best_epoch = trained.state(), outcome.epochs_done
        outcome.metric, outcome.best_value = metric, value
