"""Answers in a text: every common form is read, and one that the context does not hold is told by its row."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import write_rows

from adapterhub.data.columns import Columns
from adapterhub.data.read import read_rows
from adapterhub.errors import DataError

COLUMNS = Columns(required=("question", "context", "answers"))
CONTEXT = "  anna is in rome, ben is in rome"
ROME = [{"text": "rome", "start": 13}]


def read(path: Path, answers: Any, context: str = CONTEXT) -> Any:
    rows = [{"question": "where is anna", "context": context, "answers": answers}]
    return read_rows(write_rows(path / "rows.jsonl", rows), columns=COLUMNS, given={})[0]


@pytest.mark.parametrize(("answers", "expected"), [
    ({"text": ["rome"], "answer_start": [13]}, ROME),
    ({"text": ["rome", "in rome"], "answer_start": [29, 10]},
     [{"text": "rome", "start": 29}, {"text": "in rome", "start": 10}]),
    ({"text": "rome", "answer_start": 13}, ROME),
    (json.dumps({"text": ["rome"], "answer_start": [13]}), ROME),
    ("rome", ROME),
    (["rome"], ROME),
    ('["rome"]', ROME),
])
def test_every_form_of_answers_is_read_with_its_place(answers: Any, expected: Any, tmp_path: Path) -> None:
    assert read(tmp_path, answers)["answers"] == expected


def test_context_keeps_its_first_spaces_so_that_places_hold(tmp_path: Path) -> None:
    assert read(tmp_path, "rome")["context"] == CONTEXT


@pytest.mark.parametrize(("answers", "reason"), [
    ("oslo", "row 1 has the answer 'oslo', which its context does not hold"),
    ({"text": ["rome"], "answer_start": [12]}, "the answer 'rome', which its context does not hold at character 12"),
    ({"text": ["rome"], "answer_start": [-1]}, "does not hold"),
    ({"text": ["rome"], "answer_start": ["x"]}, "does not hold"),
    ({"text": [], "answer_start": []}, "has no answers"),
    ("", "has no answers"),
    ([], "has no answers"),
    ([" "], "has an empty answer"),
    ({"text": ["rome", "rome"], "answer_start": [13]}, "expected texts and as many answer_start"),
    ({"text": [3], "answer_start": [13]}, "expected texts"),
    (7, "has answers 7, expected texts"),
    ([{"start": 3}], "has answers [{'start': 3}], expected texts"),
])
def test_answers_that_cannot_be_found_are_told(answers: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1") as caught:
        read(tmp_path, answers)
    assert reason in caught.value.message


def test_context_of_spaces_is_no_context(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1 has no context"):
        read(tmp_path, "rome", context="   ")
