"""Feedback as rows to train on: what was asked with what would have been right, under the names that tasks read."""

from typing import Any

import pytest
from said import answer, said

from adapterhub.data.read import read_rows
from adapterhub.feedback.lessons import lesson_of, newest_lessons
from adapterhub.feedback.records import CORRECTION_FIELDS, LABEL_FIELDS, Judged
from adapterhub.tasks.table import TASKS

CHAT = [{"role": "user", "content": "hi"}]
CASES: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("text-classification", {"text": "my card"}, {"label": "card"}, {"text": "my card", "label": "card"}),
    ("text-classification", {"text": "a", "text_pair": "b", "more": 1}, {"correction": {"label": "x"}},
     {"text": "a", "text_pair": "b", "label": "x"}),
    ("multi-label-classification", {"text": "a"}, {"label": ("x", "y")}, {"text": "a", "labels": ["x", "y"]}),
    ("text-regression", {"text": "a"}, {"label": 0.5}, {"text": "a", "score": 0.5}),
    ("token-classification", {"tokens": ["anna", "is"]}, {"correction": {"tags": ["B-PER", "O"]}},
     {"tokens": ["anna", "is"], "tags": ["B-PER", "O"]}),
    ("token-classification", {"text": "anna is"}, {"correction": {"tokens": ["anna", "is"], "tags": ["B-PER", "O"]}},
     {"tokens": ["anna", "is"], "tags": ["B-PER", "O"]}),
    ("question-answering", {"question": "where?", "context": "in rome"}, {"correction": {"answers": ["rome"]}},
     {"question": "where?", "context": "in rome", "answers": ["rome"]}),
    ("sentence-similarity", {"query": "a", "candidates": ["b", "c"]}, {"correction": {"answer": "c"}},
     {"query": "a", "answer": "c"}),
    ("text-generation", "once", {"correction": {"completion": " upon"}}, {"prompt": "once", "completion": " upon"}),
    ("text-generation", CHAT, {"correction": {"completion": "hello"}},
     {"messages": [*CHAT, {"role": "assistant", "content": "hello"}]}),
    ("text2text-generation", {"prompt": "a"}, {"correction": {"completion": "b"}}, {"prompt": "a", "completion": "b"}),
]


def judged(task: str, row: Any, **what: Any) -> Judged:
    return Judged(answer=answer("ans_1", task=task), feedback=said("ans_1", **what), row=row)


@pytest.mark.parametrize(("task", "row", "what", "lesson"), CASES)
def test_lesson_is_a_row_that_its_task_reads(task: str, row: Any, what: dict[str, Any], lesson: dict[str, Any],
                                             tmp_path: Any) -> None:
    import json

    assert lesson_of(judged(task, row, **what)) == lesson
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(lesson))
    assert len(read_rows(file, columns=TASKS[task].columns, given={})) == 1


@pytest.mark.parametrize(("task", "row", "what"), [
    ("text-classification", None, {"label": "card"}), ("text-classification", {"text": "a"}, {"rating": 1.0}),
    ("token-classification", {"text": "anna"}, {"correction": {"tags": ["B-PER"]}}),
    ("sentence-similarity", {"text": "a"}, {"correction": {"answer": "c"}}), ("text-generation", CHAT, {"rating": 0.0}),
    ("sentence-similarity", {"query": "a"}, {"label": "no label here"}),
])
def test_what_does_not_say_what_is_right_teaches_nothing(task: str, row: Any, what: dict[str, Any]) -> None:
    assert lesson_of(judged(task, row, **what)) is None


def test_of_several_on_one_answer_the_newest_that_teaches_counts() -> None:
    row = {"text": "my card"}
    lines = [judged("text-classification", row, label="a", holder="x"),
             judged("text-classification", row, label="b", holder="y"),
             judged("text-classification", row, rating=0.0, holder="z")]
    assert list(newest_lessons(lines)) == [{"text": "my card", "label": "b"}]


def test_tables_of_fields_are_those_of_the_tasks() -> None:
    assert CORRECTION_FIELDS.keys() == TASKS.keys()
    for name, task in TASKS.items():
        assert set(CORRECTION_FIELDS[name]) <= set(task.columns.required)
        assert LABEL_FIELDS.get(name) in (None, *task.columns.required)
