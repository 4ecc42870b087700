"""A base in memory under a task's head: a fresh one, or the language-model head that it has. It trains nothing."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from adapterhub.bases.load import Base
from adapterhub.tasks.task import Task


def load_for(base: Base, task: Task, labels: Sequence[str]) -> PreTrainedModel:
    """Load the base under a fresh head for these labels, or, for a task that writes, with its own one, frozen.

    Seeding a fresh head is the caller's. Raises BaseNotFound where the base cannot be loaded so.
    """
    if task.writes:
        return base.load_with_lm_head()
    return base.load_with_head(task.auto_class, n_labels=max(1, len(labels)))
