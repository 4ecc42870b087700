"""Who looks on while a run goes: a live display, trackers, a search that may end the run."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import psutil

from adapterhub.progress import Progress

SPEED_STEPS = 20
"""Steps over which the display's rows per second are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """One step, just made."""

    step: int
    """Counted from 1 over the whole run."""
    epoch: int
    loss: float
    learning_rate: float
    """With which the step was made."""
    gradient_norm: float
    """Before clipping."""
    n_rows: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFacts:
    """One epoch, just measured."""

    epoch: int
    step: int
    loss: float
    """Mean over its steps."""
    metrics: dict[str, float]
    """On the validation rows; empty without them."""
    metric: str
    """The one that chooses; empty without validation rows."""
    best_epoch: int
    best_value: float


class Watcher(Protocol):
    """Looks on; what it raises ends the run."""

    def step_ended(self, facts: StepFacts) -> None:
        """Take a step's figures."""

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Take an epoch's figures."""


class Display:
    """The live display: loss, best value, rows per second, memory; the bar itself tells steps and time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._best = ""
        self._recent: deque[StepFacts] = deque(maxlen=SPEED_STEPS)
        self._process = psutil.Process()

    def step_ended(self, facts: StepFacts) -> None:
        """Show the step."""
        self._recent.append(facts)
        speed = sum(step.n_rows for step in self._recent) / sum(step.seconds for step in self._recent)
        memory = self._process.memory_info().rss / 1e9
        self._progress.update(facts.step, f"loss {facts.loss:.3f}{self._best}, {memory:.1f} GB, {speed:.0f} rows/s")

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Remember the best value for the next steps."""
        if facts.metric:
            self._best = f", best {facts.metric} {facts.best_value:.3f}"
