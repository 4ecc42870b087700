"""What one model gave for a set of rows: all that a report is made of. It judges nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapterhub.tasks.task import Evaluation, Example, Task
from adapterhub.tasks.written import Answered

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One adapter's outputs on rows whose right answers are known."""

    name: str
    """As the user calls the adapter: a reference, a folder."""
    task: Task
    labels: Sequence[str]
    examples: Sequence[Example]
    outputs: Sequence[list["torch.Tensor"]]
    """One tensor per sequence of each example, as `Task.evaluate` takes them; empty where the task keeps none."""
    evaluation: Evaluation
    answers: Sequence[Answered] = ()
    """Of a task that writes: the texts that were written, for some of the rows."""
