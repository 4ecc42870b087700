"""The learning curve: what each epoch of a training run came to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training rows."""

    number: int
    """From 1."""
    loss: float
    """Mean over the epoch's steps."""
    value: float | None = None
    """The metric that chooses the best epoch, on the validation rows; None where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A run's epochs in their order."""

    metric: str
    """Empty where nothing was measured."""
    best_epoch: int
    epochs: list[Epoch]
