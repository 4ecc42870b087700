"""What one arm came to: frozen records, from a process that trained it."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryParts:
    """Bytes of a training step by what they are for, counted tensor by tensor and not read off the system."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """What the forward pass keeps for the backward pass, casts of weights included."""
    checkpoint: int = 0
    """A checkpoint on disk: the trained tensors and the optimiser's state, as torch writes them."""

    @property
    def total(self) -> int:
        """All of them in memory at once; the activations are gone before the last gradient is there."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One epoch of a learning curve."""

    epoch: int
    step: int
    seconds: float
    """Of all steps so far, and of what was computed ahead of them."""
    processor_seconds: float
    """The same in seconds of processors: on one that others use too, the fairer measure."""
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    """On the validation rows; empty without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """What one arm came to, with one seed."""

    arm: str
    method: str
    seed: int
    learning_rate: float
    epochs: int
    n_steps: int
    trained_parameters: int
    disk_bytes: int
    """All files that it wrote."""
    peak_memory_bytes: int
    """Highest resident set above what the process had before it loaded the base, until the first epoch ended; on a GPU
    the most that was allocated."""
    write_memory_bytes: int
    """The same afterwards, while the result is measured and written; 0 where it was not taken apart."""
    reserved_memory_bytes: int
    """On a GPU, the most that the allocator held; 0 elsewhere."""
    step_seconds: float
    """Median, without the first steps, and where there are several epochs without the first of them."""
    step_processor_seconds: float
    """The same in seconds of processors."""
    train_seconds: float
    """All steps together, and what was computed ahead of them."""
    metrics: dict[str, float]
    """On the test rows."""
    n_test_rows: int
    curve: list[CurvePoint] = field(default_factory=list)
    total_parameters: int = 0
    """Frozen ones too; 0 where they were not asked for."""
    parts: MemoryParts | None = None
    """None where they were not asked for."""
    energy_joules: float | None = None
    """Of all steps, of the whole machine or GPU; None where it cannot be measured."""
    energy_counter: str = ""

    @property
    def value(self) -> float:
        """The task's first metric on the test rows."""
        return next(iter(self.metrics.values()))

    def seconds_to(self, metric: str, value: float) -> float | None:
        """Return the processor seconds until the validation metric first reached a value; None where it did not."""
        return next((point.processor_seconds for point in self.curve if point.metrics.get(metric, -1.0) >= value), None)


def parsed_figures(plain: dict[str, object]) -> ArmFigures:
    """Return figures from what `dataclasses.asdict` made of them."""
    parts, curve = plain.get("parts"), plain.get("curve", [])
    assert isinstance(curve, Sequence), "asdict keeps lists"
    return ArmFigures(**{**plain, "parts": MemoryParts(**parts) if isinstance(parts, dict) else None,  # type: ignore[arg-type]  # checked by the classes' own fields
                         "curve": [CurvePoint(**point) for point in curve]})
