"""The same rows come out of every file format, and a fault is told by its file, row and value."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Rows, entity_rows, write_rows

from adapterhub.data.columns import Columns, match_columns
from adapterhub.data.read import read_rows
from adapterhub.errors import DataError

TEXTS = Columns(required=("text", "label"), optional=("text_pair",))
TAGGED = Columns(required=("tokens", "tags"))
PAIRS = Columns(required=("query", "answer"), optional=("score",))
FORMATS = ("csv", "tsv", "json", "jsonl", "csv.gz", "tsv.gz", "json.gz", "jsonl.gz", "parquet")
ROWS: Rows = [{"text": "where is my card", "label": "card"}, {"text": 'he said "hi", then\tleft', "label": "NA"},
              {"text": "007", "label": "01"}, {"text": "naïve café\nsecond line", "label": "1.0"},
              {"text": "null", "label": "true"}]


def read(path: Path, columns: Columns = TEXTS, given: Mapping[str, str] | None = None) -> Rows:
    return read_rows(path, columns=columns, given=given or {})


def refusal(path: Path, columns: Columns = TEXTS, given: Mapping[str, str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(path, columns, given)
    return str(caught.value)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_texts(kind: str, tmp_path: Path) -> None:
    assert read(write_rows(tmp_path / f"rows.{kind}", ROWS)) == ROWS


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_words_and_tags(kind: str, tmp_path: Path) -> None:
    rows = entity_rows(4)
    assert read(write_rows(tmp_path / f"rows.{kind}", rows), TAGGED) == rows


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_scores(kind: str, tmp_path: Path) -> None:
    rows = [{"query": "a", "answer": "b", "score": 0.25}, {"query": "c", "answer": "d", "score": 1.0}]
    assert read(write_rows(tmp_path / f"rows.{kind}", rows), PAIRS) == rows


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_labels_that_look_like_numbers_stay_as_they_are_written(kind: str, tmp_path: Path) -> None:
    rows = [{"text": "007", "label": "01"}, {"text": "1e3", "label": "02"}, {"text": "1_0", "label": "1.50"}]
    assert read(write_rows(tmp_path / f"rows.{kind}", rows)) == rows


def test_ending_in_capitals_is_the_same_format(tmp_path: Path) -> None:
    assert read(write_rows(tmp_path / "rows.TSV", ROWS)) == ROWS


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")),
                              min_size=1, max_size=12), min_size=1, max_size=4))
def test_any_text_survives_csv_and_jsonl(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [{"text": text, "label": "x"} for text in texts]
    place = tmp_path_factory.mktemp("any")
    assert read(write_rows(place / "r.csv", rows)) == read(write_rows(place / "r.jsonl", rows)) == rows


def test_numbers_and_switches_in_json_become_strings(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "r.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n'))
    assert [row["label"] for row in rows] == ["1", "2"]


def test_words_and_tags_may_be_separated_by_spaces(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "r.csv", "tokens,tags\nanna is here,B-PER O O\n"), TAGGED)
    assert rows == [{"tokens": ["anna", "is", "here"], "tags": ["B-PER", "O", "O"]}]


def test_given_column_wins_over_a_common_name(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", "text,label,mine\na,x,y\nb,x,z\n")
    assert [row["label"] for row in read(path, given={"label": "mine"})] == ["y", "z"]


def test_columns_are_found_by_common_names_in_any_case() -> None:
    assert match_columns(["Utterance", "INTENT"], TEXTS, {}, source="r") == {"text": "Utterance", "label": "INTENT"}


def test_optional_column_that_no_row_fills_is_not_there(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", '{"text": "a", "text_pair": null, "label": "x"}\n' * 2)
    assert read(path) == [{"text": "a", "label": "x"}] * 2


BAD_FILES = {
    "empty file": ("r.csv", "", ("r.csv has no rows", "empty")),
    "header only, csv": ("r.csv", "text,label\n", ("r.csv has no rows",)),
    "header only, tsv": ("r.tsv", "text\tlabel\n", ("r.tsv has no rows",)),
    "no rows, json": ("r.json", "[]", ("r.json has no rows",)),
    "blank lines, jsonl": ("r.jsonl", "\n\n", ("r.jsonl has no rows",)),
    "unknown extension": ("r.xlsx", "text", ("r.xlsx is of an unknown kind", ".parquet")),
    "no extension": ("rows", "text", ("rows is of an unknown kind",)),
    "gz of nothing known": ("r.txt.gz", "text", ("r.txt.gz is of an unknown kind",)),
    "no label, csv": ("r.csv", "text,label\na,x\nb,\n", ("row 2 has no label",)),
    "no text, csv": ("r.csv", "text,label\n  ,x\nb,y\n", ("row 1 has no text",)),
    "no label, jsonl": ("r.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"}\n', ("row 2 has no label",)),
    "null text, jsonl": ("r.jsonl", '{"text": "a", "label": "x"}\n{"text": null, "label": "y"}\n',
                         ("row 2 has no text",)),
    "half a pair": ("r.jsonl", '{"text": "a", "text_pair": "b", "label": "x"}\n{"text": "c", "label": "y"}\n',
                    ("row 2 has no text_pair",)),
    "no label column": ("r.csv", "text,colour\na,x\n", ("no column for label", "text, colour", "--column label=")),
    "malformed json": ("r.json", '[{"text": "a", "lab', ("Line 1 of", "r.json", "malformed JSON")),
    "malformed jsonl": ("r.jsonl", '{"text": "a", "label": "x"}\n{"text": ',
                        ("Line 2 of", "r.jsonl", "malformed JSON")),
    "no gzip": ("r.csv.gz", "text,label\na,x\n", ("r.csv.gz is not a whole gzip file",)),
    "no parquet": ("r.parquet", "text,label\na,x\n", ("r.parquet is not a whole parquet file",)),
    "unquoted comma in the first row": ("r.csv", "text,label\nhello, world,x\nb,y\n",
                                        ("Line 2 of", "has 3 values, its header has 2")),
    "unquoted comma later": ("r.csv", "text,label\nb,y\nhello, world,x\n",
                             ("Line 3 of", "has 3 values, its header has 2")),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused_with_its_value(name: str, tmp_path: Path) -> None:
    file, text, told = BAD_FILES[name]
    message = refusal(written(tmp_path / file, text))
    assert all(part in message for part in told), message


BAD_TAGS = {
    "unequal": ({"tokens": ["a", "b"], "tags": ["O"]}, "row 1 has 2 tokens and 1 tags"),
    "bad tag": ({"tokens": ["a"], "tags": ["PER"]}, "row 1 has the tag 'PER'"),
    "tag without type": ({"tokens": ["a"], "tags": ["B-"]}, "row 1 has the tag 'B-'"),
    "no word": ({"tokens": [], "tags": []}, "row 1 has no tokens"),
    "no tags": ({"tokens": ["a"], "tags": None}, "row 1 has no tags"),
}


@pytest.mark.parametrize("name", BAD_TAGS)
def test_bad_tags_are_refused_with_their_row(name: str, tmp_path: Path) -> None:
    row, told = BAD_TAGS[name]
    good = {"tokens": ["a"], "tags": ["O"]}
    assert told in refusal(write_rows(tmp_path / "r.jsonl", [row, good]), TAGGED)


def test_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    message = refusal(written(tmp_path / "r.csv", "query,answer,score\na,b,high\n"), PAIRS)
    assert "row 1 has the score 'high'" in message


def test_absent_file_is_refused_with_near_misses(tmp_path: Path) -> None:
    written(tmp_path / "reviews.csv", "text,label\n")
    message = refusal(tmp_path / "review.csv")
    assert f"No such file: {tmp_path / 'review.csv'}" in message
    assert "Did you mean reviews.csv?" in message


def test_given_column_that_is_not_there_is_refused_with_near_misses(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", [{"text": "a", "intent": "x"}])
    message = refusal(path, given={"label": "intnt"})
    assert "no column 'intnt'" in message
    assert "Did you mean intent?" in message


def test_latin_bytes_are_refused_as_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes("text,label\ncafé,x\n".encode("latin-1"))
    assert "UTF-8" in refusal(path)


def test_many_faults_are_counted_after_the_first_five(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": "a", "label": "x" if i == 0 else ""}) + "\n" for i in range(9))
    message = refusal(written(tmp_path / "r.jsonl", rows))
    assert "row 2 has no label" in message
    assert "row 6 has no label and 3 more" in message
