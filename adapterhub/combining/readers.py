"""How the models of a task are loaded and what is read of them: one pass over a head, or the next token's logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from adapterhub.bases.load import Base
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.probe import probe_outputs
from adapterhub.tasks.table import TASKS, find_task
from adapterhub.tasks.task import Task
from adapterhub.tasks.text2text_generation import Text2TextGeneration
from adapterhub.tasks.text_generation import TextGeneration

Rows = Sequence[list[int]]
Outputs = list[torch.Tensor]
_WRITING: dict[str, GenerationTask] = {task.name: task for task in (TextGeneration(), Text2TextGeneration())}


class Reader(Protocol):
    """What merging, converting and exporting need of a task."""

    @property
    def task(self) -> Task | GenerationTask:
        """The task itself."""

    @property
    def keeps_outputs(self) -> bool:
        """Whether the outputs are few enough for a manifest's probe, and are what `verify` computes again."""

    def load(self, base: Base, labels: Sequence[str]) -> PreTrainedModel:
        """Load the base under the task's head. Raises BaseNotFound."""

    def outputs(self, model: torch.nn.Module, rows: Rows) -> Outputs:
        """Return what a model gives for each token sequence alone, flat, float32. Sets evaluation mode."""


@dataclass(frozen=True, slots=True)
class _OnePass:
    task: Task
    keeps_outputs: bool = True

    def load(self, base: Base, labels: Sequence[str]) -> PreTrainedModel:
        return base.load_with_head(self.task.auto_class, n_labels=max(1, len(labels)))

    def outputs(self, model: torch.nn.Module, rows: Rows) -> Outputs:
        return probe_outputs(model, self.task, rows)


@dataclass(frozen=True, slots=True)
class _Writing:
    task: GenerationTask
    keeps_outputs: bool = False

    def load(self, base: Base, labels: Sequence[str]) -> PreTrainedModel:
        return base.load_with_lm_head()

    def outputs(self, model: torch.nn.Module, rows: Rows) -> Outputs:
        """Return the logits [V] of the token that would come next; an encoder-decoder's first one."""
        model.eval()
        config: Any = model.config
        is_two_part = getattr(config, "is_encoder_decoder", False)
        begun = {"decoder_input_ids": torch.tensor([[config.decoder_start_token_id]])} if is_two_part else {}
        with torch.inference_mode():
            return [model(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long),
                          **begun).logits[0, -1].float() for row in rows]


def reader_of(task: str) -> Reader:
    """Return how a task's models are read. Raises UnknownName."""
    if task in _WRITING and task not in TASKS:
        return _Writing(_WRITING[task])
    return _OnePass(find_task(task))
