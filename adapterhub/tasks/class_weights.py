"""Classes that weigh more than others in the loss: a task with such weights, made of one without."""

import copy
from collections.abc import Sequence

import torch

from adapterhub.errors import InvalidConfig
from adapterhub.tasks.task import Task


def with_class_weights(task: Task, weights: Sequence[float]) -> Task:
    """Return the task with a weight for each label in its loss. Raises InvalidConfig where its loss has no classes."""
    if not hasattr(task, "class_weights"):
        raise InvalidConfig(f"class_weights weigh the labels of a classification, which {task.name} is not.",
                            hint="Leave them out.")
    weighted = copy.copy(task)
    weighted.class_weights = tuple(weights)
    return weighted


def as_tensor(weights: Sequence[float] | None, device: torch.device) -> torch.Tensor | None:
    """Return weights as cross entropy takes them [L], None where there are none."""
    return None if weights is None else torch.tensor(weights, device=device)
