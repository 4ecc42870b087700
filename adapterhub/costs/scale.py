"""Disk and memory for many tasks, from the measured sizes of one adapter and one fully fine-tuned model."""

from collections.abc import Sequence
from dataclasses import dataclass

TASK_COUNTS = (1, 10, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """What one model takes."""

    disk_bytes: int
    memory_bytes: int
    """Its weights in the type that they are computed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleLine:
    """What a number of tasks takes, both ways."""

    n_tasks: int
    adapters: ModelSizes
    """One base and an adapter for each task."""
    full: ModelSizes
    """A whole model for each task."""


def scale(base: ModelSizes, adapter: ModelSizes, full: ModelSizes,
          counts: Sequence[int] = TASK_COUNTS) -> list[ScaleLine]:
    """Return one base with N adapters beside N whole models. Weights alone: activations come with the batch."""
    return [ScaleLine(n_tasks=n,
                      adapters=ModelSizes(disk_bytes=base.disk_bytes + n * adapter.disk_bytes,
                                          memory_bytes=base.memory_bytes + n * adapter.memory_bytes),
                      full=ModelSizes(disk_bytes=n * full.disk_bytes, memory_bytes=n * full.memory_bytes))
            for n in counts]
