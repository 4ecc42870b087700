"""A batch learned in parts: the parts' losses, by their weights, make the whole batch's loss."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tiny import answer_rows, entity_rows, intent_rows, pair_rows, tiny_tokenizer

from adapterhub.data.answers import parse_answers, place_answers
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return seven rows of a task, of several lengths."""
    if name == "token-classification":
        return [{key: value[:3 + i % 5] for key, value in row.items()} for i, row in enumerate(entity_rows(7))]
    if name == "question-answering":
        rows = [row | {"answers": parse_answers(row["answers"])} for row in answer_rows(7)]
        assert not any(place_answers(row) for row in rows)
        return rows
    texts = intent_rows(3, 3)[:7]
    targets: dict[str, Any] = {"text-classification": lambda i: {"label": texts[i]["label"]},
                               "multi-label-classification": lambda i: {"labels": ["card", "loan"][:i % 3]},
                               "text-regression": lambda i: {"score": i / 2}}
    return [{"text": row["text"], **targets[name](i)} for i, row in enumerate(texts)]


def outputs_of(name: str, examples: Sequence[Example], n_outputs: int) -> list[torch.Tensor]:
    """Return outputs that depend on each row and token alone, padded to the longest sequence of the batch."""
    longest = max(len(example.sequences[0].input_ids) for example in examples)
    made = torch.zeros(len(examples), longest, n_outputs)
    for row, example in enumerate(examples):
        for place, token in enumerate(example.sequences[0].input_ids):
            made[row, place] = torch.sin(torch.arange(1.0, n_outputs + 1) * (token + place))
    return [made if name in ("token-classification", "question-answering") else made.sum(dim=1)]


@pytest.mark.parametrize("name", ["text-classification", "multi-label-classification", "text-regression",
                                  "token-classification", "question-answering"])
def test_parts_by_their_weights_make_the_whole_loss(name: str) -> None:
    task, rows = find_task(name), rows_of(name)
    labels = task.labels_of(rows)
    examples = task.lessons(task.encode(rows, tiny_tokenizer(), labels, 64))
    assert task.can_split(examples)
    whole = float(task.loss(outputs_of(name, examples, len(labels)), examples))
    parts = [examples[:2], examples[2:3], examples[3:]]
    weights = [task.loss_weight(part) for part in parts]
    losses = [float(task.loss(outputs_of(name, part, len(labels)), part)) for part in parts]
    assert sum(weights) == task.loss_weight(examples)
    mean = sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)
    assert mean == pytest.approx(whole, rel=1e-5)
    assert mean != pytest.approx(sum(losses) / 3, rel=1e-3)  # parts of unequal size: a plain mean is another figure


def test_pairs_that_are_told_apart_from_each_other_stay_together() -> None:
    task = find_task("sentence-similarity")
    examples = task.encode(pair_rows(4), tiny_tokenizer(), [], 32)
    assert not task.can_split(examples)
    assert task.loss_weight(examples) == 4
