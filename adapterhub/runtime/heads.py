"""Heads: the architecture's own head code, run on shared hidden states with one adapter's own tensors."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from transformers import AutoConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from adapterhub.bases.load import Base
from adapterhub.errors import PredictionError
from adapterhub.runtime.copies import on_device
from adapterhub.tasks.task import Task


class _SharedTrunk(nn.Module):
    """Stands where a head model has its base: gives the hidden states that are already there."""

    def __init__(self, pooler: nn.Module | None) -> None:
        super().__init__()
        self.pooler = pooler
        self.hidden: torch.Tensor | None = None  # [B, T, I]

    def forward(self, *_: Any, **__: Any) -> BaseModelOutputWithPooling:  # the architecture calls it its own way
        """Return the hidden states, pooled where the head reads a pooler."""
        assert self.hidden is not None, "hidden states are set before the head runs"
        pooled = self.pooler(self.hidden) if self.pooler is not None else None
        return BaseModelOutputWithPooling(last_hidden_state=self.hidden, pooler_output=pooled)


class Heads:
    """Head skeletons by task and number of labels; the tensors come with each call. Heads compute in float32."""

    def __init__(self, base: Base, trunk: PreTrainedModel) -> None:
        self._base = base
        pooler = getattr(trunk, "pooler", None)
        self._pooler = copy.deepcopy(pooler).float() if pooler is not None else None
        self._device = trunk.device
        self._skeletons: dict[tuple[str, int], tuple[PreTrainedModel, _SharedTrunk]] = {}

    def pooler_weights(self) -> list[tuple[str, torch.Tensor]]:
        """Return the base's own pooler by name, float32; nothing where it has none."""
        return list(self._pooler.named_parameters()) if self._pooler is not None else []

    def bind(self, task: Task, n_labels: int, head: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return an adapter's head tensors on the base's device, by the head model's names.

        Raises PredictionError where they are not exactly what the task's head reads, or the task writes.
        """
        if task.writes:
            raise PredictionError(f"The adapter is for {task.name}: it writes, token by token.",
                                  hint="Ask a Generator, `adapterhub generate` or the server's /v1/completions.")
        read = dict(self._skeleton(task, n_labels)[0].named_parameters()) if n_labels else {}
        wrong = [name for name, value in head.items() if name not in read or read[name].shape != value.shape]
        wrong += [name for name, value in read.items() if value.is_meta and name not in head]
        if wrong:
            raise PredictionError(f"The head tensor {wrong[0]} is not what the head of {task.name} with {n_labels} "
                                  "labels reads.", hint="Train it again, with the task's own head alone saved whole.")
        return {name: on_device(value, self._device) for name, value in head.items()}

    def run(self, task: Task, n_labels: int, tensors: Mapping[str, torch.Tensor], hidden: torch.Tensor,
            inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return a task's outputs, float32, for rows that share one adapter. hidden [B, T, I] of any type."""
        hidden = hidden.float()
        if not n_labels:
            return task.outputs(BaseModelOutputWithPooling(last_hidden_state=hidden), inputs)
        model, shared = self._skeleton(task, n_labels)
        shared.hidden = hidden
        try:
            output = functional_call(model, dict(tensors), kwargs=dict(inputs))
        finally:
            shared.hidden = None
        return task.outputs(output, inputs)

    def _skeleton(self, task: Task, n_labels: int) -> tuple[PreTrainedModel, _SharedTrunk]:
        key = (task.name, n_labels)
        if key not in self._skeletons:
            config = AutoConfig.from_pretrained(self._base.source.folder, num_labels=n_labels)
            with torch.device("meta"):
                model = task.auto_class.from_config(config, dtype=torch.float32)
            reads_pooler = getattr(model.base_model, "pooler", None) is not None
            shared = _SharedTrunk(self._pooler if reads_pooler else None)
            setattr(model, model.base_model_prefix, shared)
            self._skeletons[key] = (model.eval(), shared)
        return self._skeletons[key]
