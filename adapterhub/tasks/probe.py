"""The probe: a few fixed token sequences, never rows of data, and what a model gives for them."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from adapterhub.tasks.batch import collate
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.one_pass import outputs_of
from adapterhub.tasks.task import Example, Task, TokenSequence

_SEED = 20
_LENGTHS = (6, 11, 17)


def draw_rows(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Return three token sequences, drawn by a seeded generator, without special tokens."""
    generator = torch.Generator().manual_seed(_SEED)
    special = set(tokenizer.all_special_ids)
    rows = []
    for length in _LENGTHS:
        drawn = torch.randint(0, len(tokenizer), (4 * length,), generator=generator).tolist()
        rows.append([i for i in drawn if i not in special][:length])
    return rows


def probe_examples(task: Task, rows: Sequence[list[int]]) -> list[Example]:
    """Return probe sequences as examples of a task; for one that writes, the sequences are what has to be written."""
    if isinstance(task, GenerationTask):
        return [Example(sequences=[task.probe_sequence(row)]) for row in rows]
    return [Example(sequences=[TokenSequence(input_ids=row, token_type_ids=[0] * len(row))]) for row in rows]


def probe_outputs(model: torch.nn.Module, task: Task, rows: Sequence[list[int]]) -> list[torch.Tensor]:
    """Return what a task reads from a model for each sequence alone, flat, float32. Sets evaluation mode."""
    model.eval()
    with torch.inference_mode():
        return [outputs_of(model, task, collate(example.sequences, pad_id=0))[0].float().flatten()
                for example in probe_examples(task, rows)]
