"""The probe: a few fixed token sequences, never rows of data, and what a model gives for them."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

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


def probe_examples(rows: Sequence[list[int]]) -> list[Example]:
    """Return probe sequences as examples."""
    return [Example(sequences=[TokenSequence(input_ids=row, token_type_ids=[0] * len(row))]) for row in rows]


def probe_outputs(model: torch.nn.Module, task: Task, rows: Sequence[list[int]]) -> list[torch.Tensor]:
    """Return what a task reads from a model for each sequence alone, flat, float32. Sets evaluation mode."""
    model.eval()
    found = []
    with torch.inference_mode():
        for row in rows:
            tokens = torch.tensor([row])
            mask = torch.ones_like(tokens)
            found.append(task.outputs(model(input_ids=tokens, attention_mask=mask), mask)[0].float().flatten())
    return found
