"""One pass of a model over encoded rows: padded tensors in, what the task reads out. It trains and measures nothing."""

from collections.abc import Sequence

import torch

from adapterhub.tasks.batch import collate
from adapterhub.tasks.one_pass import outputs_of
from adapterhub.tasks.task import Example, Task, TokenSequence


def compute_outputs_of(model: torch.nn.Module, task: Task, sequences: Sequence[TokenSequence], pad_id: int,
                       device: torch.device) -> torch.Tensor:
    """Return what the task reads for each sequence: [B, L], [B, T, L] or [B, I]."""
    inputs = {name: value.to(device) for name, value in collate(sequences, pad_id).items()}
    return outputs_of(model, task, inputs)


def compute_loss(model: torch.nn.Module, task: Task, examples: Sequence[Example], pad_id: int,
                 device: torch.device) -> torch.Tensor:
    """Return the mean loss of a batch in float32, with its graph, whatever type the model computes in."""
    outputs = [compute_outputs_of(model, task, [example.sequences[k] for example in examples], pad_id, device)
               for k in range(len(examples[0].sequences))]
    with torch.autocast(device.type, enabled=False):
        return task.loss([output.float() for output in outputs], examples)
