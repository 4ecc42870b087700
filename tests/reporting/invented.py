"""Outputs that no model gave: seeded, right about three times in four, for each task that a report can read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from adapterhub.reporting.measured import Measured
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example, TokenSequence

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def invented(task: str, n_rows: int = 60, seed: int = 0, name: str = "invented", skill: float = 2.0) -> Measured:
    """Return outputs for `n_rows` rows; rows depend on their number alone, `skill` says how good the outputs are."""
    make = _MAKERS[task]
    drawn = torch.Generator().manual_seed(seed)
    rows, rng = [], np.random.default_rng(7)
    for _ in range(n_rows):
        rows.append(make(rng, drawn, skill))
    examples, outputs, labels = [row[0] for row in rows], [row[1] for row in rows], _LABELS.get(task, [])
    found = find_task(task)
    return Measured(name=name, task=found, labels=labels, examples=examples, outputs=outputs,
                    evaluation=found.evaluate(outputs, examples, labels))


Made = tuple[Example, list[torch.Tensor]]
_LABELS = {"text-classification": ["a", "b", "c", "oos"], "multi-label-classification": ["x", "y", "z"],
           "text-regression": ["score"], "token-classification": TAGS, "question-answering": ["start", "end"]}
_ONE = [TokenSequence(input_ids=[2, 3], token_type_ids=[0, 0])]


def _class(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    target = int(rng.integers(4))
    logits = torch.randn(4, generator=drawn)
    logits[target] += skill
    return Example(sequences=_ONE, target=target, row={"text": f"text {target}", "label": "abc"[target % 3]}), [logits]


def _label_set(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    target = (rng.random(3) < 0.4).astype(float)
    logits = torch.randn(3, generator=drawn) + skill * torch.tensor(2 * target - 1, dtype=torch.float)
    return Example(sequences=_ONE, target=target.tolist(), row={"text": "a text"}), [logits]


def _number(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    target = float(rng.integers(6))
    return (Example(sequences=_ONE, target=target, row={"text": "a text"}),
            [target + torch.randn(1, generator=drawn) / skill + 0.5])


def _pair(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    number = int(rng.integers(1000))
    answer = torch.randn(8, generator=torch.Generator().manual_seed(number))
    query = answer + torch.randn(8, generator=drawn) / skill
    return (Example(sequences=_ONE * 2, row={"query": f"where is {number}", "answer": f"there {number}"}),
            [torch.nn.functional.normalize(value, dim=-1) for value in (query, answer)])


def _scored_pair(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    example, outputs = _pair(rng, drawn, skill)
    return Example(sequences=_ONE * 2, row=example.row, target=float(rng.integers(5))), outputs


def _tags(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    tags: list[str] = []
    while len(tags) < 9:
        tags += [["O"], ["B-LOC"], ["B-LOC", "I-LOC"], ["B-PER", "I-PER"]][int(rng.integers(4))]
    n_words, n_kept = len(tags), 8  # the last words are cut off
    words = [None, *range(n_kept), None]
    target = [TAGS.index(tags[word]) if word is not None else -100 for word in words]
    logits = torch.randn(len(words), len(TAGS), generator=drawn)
    for token, place in enumerate(target):
        logits[token, max(0, place)] += skill
    sequence = TokenSequence(input_ids=[5] * len(words), token_type_ids=[0] * len(words), word_of_token=words)
    return Example(sequences=[sequence], target=target, is_truncated=True,
                   row={"tokens": [f"w{i}" for i in range(n_words)], "tags": tags}), [logits]


def _answer(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    context = "anna is in rome and ben is in oslo"
    spans = [None, *((i, i + len(word)) for i, word in _words(context)), None]
    place = int(rng.integers(1, len(spans) - 1))
    start, end = spans[place] or (0, 0)
    logits = torch.randn(len(spans), 2, generator=drawn)
    logits[place] += skill
    sequence = TokenSequence(input_ids=[5] * len(spans), token_type_ids=[0] * len(spans), span_of_token=spans)
    return Example(sequences=[sequence], target=[(place, place)],
                   row={"question": "where", "context": context,
                        "answers": [{"text": context[start:end], "start": start}]}), [logits]


def _text(rng: np.random.Generator, drawn: torch.Generator, skill: float) -> Made:
    n_prompt, n_tokens = int(rng.integers(1, 4)), int(rng.integers(4, 12))
    labels = [-100] * n_prompt + [7] * (n_tokens - n_prompt)
    likely = -torch.rand(n_tokens, generator=drawn) / skill
    below = -(torch.rand(n_tokens, generator=drawn) > 0.7).float()
    outputs = torch.stack([likely, below], dim=-1)
    outputs[:n_prompt] = 0
    sequence = TokenSequence(input_ids=[5] * n_tokens, token_type_ids=[0] * n_tokens, labels=labels)
    return Example(sequences=[sequence], row={"prompt": "say", "completion": f"text {n_tokens}"}), [outputs]


def _words(text: str) -> list[tuple[int, str]]:
    places = [i for i in range(len(text)) if text[i] != " " and (i == 0 or text[i - 1] == " ")]
    return [(i, text[i:].split()[0]) for i in places]


_MAKERS: dict[str, Callable[[np.random.Generator, torch.Generator, float], Any]] = {
    "text-classification": _class, "multi-label-classification": _label_set, "text-regression": _number,
    "sentence-similarity": _pair, "token-classification": _tags, "question-answering": _answer,
    "text-generation": _text, "text2text-generation": _text}


def invented_scored_pairs(n_rows: int = 40) -> Measured:
    """Return pairs with scores."""
    rng, drawn = np.random.default_rng(7), torch.Generator().manual_seed(0)
    rows = [_scored_pair(rng, drawn, 2.0) for _ in range(n_rows)]
    task, examples, outputs = find_task("sentence-similarity"), [row[0] for row in rows], [row[1] for row in rows]
    return Measured(name="pairs", task=task, labels=[], examples=examples, outputs=outputs,
                    evaluation=task.evaluate(outputs, examples, []))
