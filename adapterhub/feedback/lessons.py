"""What feedback teaches: a row as it was asked, with what would have been right, as a row to train on."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adapterhub.feedback.records import CORRECTION_FIELDS, LABEL_FIELDS, Judged

Lesson = dict[str, Any]
_TEXT_TASKS = frozenset({*LABEL_FIELDS, "token-classification"})
_INPUTS: Mapping[str, tuple[str, ...]] = {
    "text-classification": ("text", "text_pair"), "multi-label-classification": ("text", "text_pair"),
    "text-regression": ("text", "text_pair"), "token-classification": ("tokens",),
    "question-answering": ("question", "context"), "sentence-similarity": ("query",),
    "text-generation": ("prompt",), "text2text-generation": ("prompt",)}
"""Task -> the fields of a training row that are asked; what else a caller sent is left out."""


def lesson_of(judged: Judged) -> Lesson | None:
    """Return a training row; None where the row was not kept, or nobody said what is right.

    A correction goes before a label, and both before what was asked.
    """
    task, said = judged.answer.task, judged.feedback
    right: Lesson = {}
    if said.label is not None and task in LABEL_FIELDS:
        right[LABEL_FIELDS[task]] = list(said.label) if isinstance(said.label, tuple) else said.label
    right |= said.correction or {}
    if _is_chat(judged.row):
        said_last = {"role": "assistant", "content": right.get("completion")}
        return {"messages": [*judged.row, said_last]} if "completion" in right else None
    lesson = {**_asked(task, judged.row), **right}
    return lesson if right and _needed(task) <= lesson.keys() else None


def newest_lessons(judged: Iterable[Judged]) -> Iterator[Lesson]:
    """Yield the lessons of feedback that comes oldest first: of several on one answer the newest that teaches."""
    by_answer: dict[str, Lesson] = {}
    for line in judged:
        lesson = lesson_of(line)
        if lesson is not None:
            by_answer.pop(line.answer.id, None)
            by_answer[line.answer.id] = lesson
    yield from by_answer.values()


def _asked(task: str, row: Any) -> Lesson:
    """Return what was asked under the names of a training row's fields."""
    if isinstance(row, str):
        row = {"text" if task in _TEXT_TASKS else "prompt": row}
    if not isinstance(row, Mapping):
        return {}
    return {name: row[name] for name in _INPUTS.get(task, ()) if name in row}


def _is_chat(row: Any) -> bool:
    return isinstance(row, list) and bool(row) and all(isinstance(message, Mapping) for message in row)


def _needed(task: str) -> set[str]:
    """Return the fields that a training row of a task must have."""
    return {*_INPUTS.get(task, ()), *CORRECTION_FIELDS.get(task, ())} - {"text_pair"}
