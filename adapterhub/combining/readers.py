"""What is read of a task's models by those who change adapters: one pass over a probe."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from adapterhub.bases.load import Base
from adapterhub.tasks.loading import load_for
from adapterhub.tasks.probe import probe_outputs
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Task

Rows = Sequence[list[int]]
Outputs = list[torch.Tensor]


@dataclass(frozen=True, slots=True)
class Reader:
    """What merging, converting and exporting need of a task."""

    task: Task

    def load(self, base: Base, labels: Sequence[str]) -> PreTrainedModel:
        """Load the base under the task's head. Raises BaseNotFound."""
        return load_for(base, self.task, labels)

    def outputs(self, model: torch.nn.Module, rows: Rows) -> Outputs:
        """Return what a model gives for each token sequence alone, flat, float32. Sets evaluation mode."""
        return probe_outputs(model, self.task, rows)


def reader_of(task: str) -> Reader:
    """Return how a task's models are read. Raises UnknownName."""
    return Reader(find_task(task))
