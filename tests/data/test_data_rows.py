import json
from pathlib import Path
from typing import Any

import pytest

from adapterhub.data.columns import COMMON_COLUMNS, Columns, match_columns
from adapterhub.data.read import Rows, read_rows
from adapterhub.errors import DataError, UnknownName

PAIRS = Columns(required=("text", "label"), optional=("text_pair",))
TAGGED = Columns(required=("tokens", "tags"))
ANSWERS = Columns(required=("query", "answer"), optional=("score",))


def read(folder: Path, rows: list[dict[str, Any]], columns: Columns) -> Rows:
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return read_rows(folder / "rows.jsonl", columns=columns, given={})


@pytest.mark.parametrize("field", COMMON_COLUMNS)
def test_each_common_column_is_found_in_any_case(field: str) -> None:
    for column in COMMON_COLUMNS[field]:
        matched = match_columns(["id", column.upper()], Columns(required=(field,)), {}, source="rows.csv")
        assert matched == {field: column.upper()}


def test_one_column_never_stands_for_two_fields() -> None:
    assert match_columns(["sentence1", "sentence2", "label"], PAIRS, {}, source="f") == {
        "text": "sentence1", "text_pair": "sentence2", "label": "label"}
    assert match_columns(["text", "sentence"], Columns(required=("text",), optional=("text_pair",)),
                         {"text_pair": "text"}, source="f") == {"text_pair": "text", "text": "sentence"}


def test_a_given_column_comes_before_the_common_ones() -> None:
    assert match_columns(["text", "mine", "label"], PAIRS, {"text": "mine"}, source="f")["text"] == "mine"


def test_a_missing_column_is_told_with_the_columns_that_are_there() -> None:
    with pytest.raises(DataError, match=r"^rows\.csv has no column for label; it has text, kind\. Name it: .*label="):
        match_columns(["text", "kind"], PAIRS, {}, source="rows.csv")


def test_a_given_column_that_is_not_there_is_told_with_near_misses() -> None:
    with pytest.raises(DataError, match=r"^rows\.csv has no column 'intnt'; it has .*\. Did you mean intent\?"):
        match_columns(["text", "intent"], PAIRS, {"label": "intnt"}, source="rows.csv")


def test_a_given_field_that_the_task_has_not_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"Unknown field 'lable'; known: .*Did you mean label\?"):
        match_columns(["text", "label"], PAIRS, {"lable": "label"}, source="f")


def test_one_column_given_for_two_fields_is_refused() -> None:
    with pytest.raises(DataError, match="One column of f is given for two fields"):
        match_columns(["text", "label"], PAIRS, {"text": "label", "label": "label"}, source="f")


def test_labels_become_strings(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": value} for value in (3, 3.0, " x ", True)]
    assert [row["label"] for row in read(tmp_path, rows, PAIRS)] == ["3", "3", "x", "True"]


def test_tokens_and_tags_in_csv_may_be_json_or_words(tmp_path: Path) -> None:
    lines = ["tokens,tags", '"[""New York"", ""!""]","[""B-place"", ""O""]"', "to Paris,O B-place"]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    assert read_rows(tmp_path / "rows.csv", columns=TAGGED, given={}) == [
        {"tokens": ["New York", "!"], "tags": ["B-place", "O"]}, {"tokens": ["to", "Paris"], "tags": ["O", "B-place"]}]


def test_an_inside_tag_after_outside_is_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, [{"tokens": ["a", "b"], "tags": ["O", "I-x"]}], TAGGED)[0]["tags"] == ["O", "I-x"]


def test_scores_become_numbers(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("sentence1,sentence2,score\na,b,0.5\n")
    assert read_rows(tmp_path / "rows.csv", columns=ANSWERS, given={}) == [{"query": "a", "answer": "b", "score": 0.5}]


BAD_ROWS: list[tuple[Columns, dict[str, Any], str]] = [
    (PAIRS, {"text": "a"}, "has no label"),
    (PAIRS, {"text": "a", "label": None}, "has no label"),
    (PAIRS, {"text": "  ", "label": "x"}, "has no text"),
    (PAIRS, {"text": float("nan"), "label": "x"}, "has no text"),
    (PAIRS, {"text": {"a": 1}, "label": "x"}, "has a dict as its text, expected a string"),
    (PAIRS, {"text": "a", "label": ["x"]}, "has a list as its label, expected a string"),
    (PAIRS, {"text": "\ud800", "label": "x"}, "has a text with half a surrogate pair"),
    (TAGGED, {"tokens": [], "tags": []}, "has no tokens"),
    (TAGGED, {"tokens": ["a", "b"], "tags": ["O"]}, "has 2 tokens and 1 tags"),
    (TAGGED, {"tokens": ["a"], "tags": ["PER"]}, "has the tag 'PER', expected O, B-TYPE or I-TYPE"),
    (TAGGED, {"tokens": ["a"], "tags": ["B-"]}, "has the tag 'B-', expected"),
    (TAGGED, {"tokens": ["a"], "tags": [None]}, "has the tag '', expected"),
    (ANSWERS, {"query": "a", "answer": "b", "score": "high"}, "has the score 'high', expected a number"),
    (ANSWERS, {"query": "a", "answer": "b", "score": "inf"}, "has the score inf, expected a number"),
]
GOOD: dict[Columns, dict[str, Any]] = {
    PAIRS: {"text": "a", "label": "x"}, TAGGED: {"tokens": ["a"], "tags": ["O"]},
    ANSWERS: {"query": "a", "answer": "b", "score": 1},
}


@pytest.mark.parametrize(("columns", "row", "fault"), BAD_ROWS)
def test_a_row_at_fault_is_told_by_its_number(tmp_path: Path, columns: Columns, row: dict[str, Any],
                                              fault: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, [GOOD[columns], row], columns)
    assert caught.value.message.startswith(f"{tmp_path / 'rows.jsonl'}: row 2 {fault}")


def test_faults_are_gathered_and_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, [{"text": "a", "label": ""}] * 8, PAIRS)
    assert caught.value.message.count("has no label") == 5
    assert caught.value.message.endswith(" and 3 more.")


@pytest.mark.parametrize("blank", ["", None])
def test_an_optional_column_is_filled_in_every_row_or_not_there(tmp_path: Path, blank: str | None) -> None:
    bare, full = GOOD[PAIRS] | {"text_pair": blank}, GOOD[PAIRS] | {"text_pair": "b"}
    assert read(tmp_path, [bare, bare], PAIRS) == [GOOD[PAIRS], GOOD[PAIRS]]
    with pytest.raises(DataError, match=r": row 2 has no text_pair\."):
        read(tmp_path, [full, bare], PAIRS)
