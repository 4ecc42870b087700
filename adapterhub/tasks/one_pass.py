"""One pass of a model: token sequences in, what a task reads out of it. It trains and measures nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from adapterhub.tasks.task import IGNORED, Task


def outputs_of(model: torch.nn.Module, task: Task, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Call a model with the inputs that its base reads, and return what the task reads: [B, L], [B, T, L] or [B, I].

    `inputs` are those of `collate`, on the model's device. Of a model that writes, logits are computed only where
    there is a label: of a long prompt with a short completion they would be most of the memory.
    """
    inside: Any = getattr(model, "module", model)  # what DistributedDataParallel wraps
    given = {name: value for name, value in inputs.items() if name != "labels"}
    if getattr(inside.config, "type_vocab_size", 0) < 1:
        given.pop("token_type_ids", None)
    if not task.writes:
        return task.outputs(model(**given), inputs)
    if getattr(inside.config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = inside.prepare_decoder_input_ids_from_labels(inputs["labels"])
    # Without a cache: one that is there hides from transformers that restarting positions mean several texts in a row.
    with _head_where(inside, inputs["labels"] != IGNORED):
        return task.outputs(model(**given, use_cache=False), inputs)


@contextmanager
def _head_where(model: Any, places: torch.Tensor) -> Iterator[None]:
    """Let the language-model head see [1, N, I] of the hidden states [B, T, I]: those at the true `places` [B, T].

    Where a method puts tokens of its own in front, the places are those of the last T.
    """
    def choose(_: torch.nn.Module, hidden: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (hidden[0][:, -places.shape[1]:][places][None], *hidden[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()
