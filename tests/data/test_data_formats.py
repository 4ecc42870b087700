import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.data.columns import Columns
from adapterhub.data.formats import read_table
from adapterhub.data.read import Rows, read_rows
from adapterhub.errors import DataError

PAIRS = Columns(required=("text", "label"))
ROWS = [{"text": "where is my card?", "label": "card"}, {"text": 'a "quoted", long\nline é', "label": "007"},
        {"text": "null", "label": "NA"}]


def write(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(path: Path) -> Rows:
    return read_rows(path, columns=PAIRS, given={})


def delimited(rows: Rows, delimiter: str) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def parquet(rows: Rows) -> bytes:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


WRITERS = {
    ".csv": lambda rows: delimited(rows, ","),
    ".tsv": lambda rows: delimited(rows, "\t"),
    ".TSV": lambda rows: delimited(rows, "\t"),
    ".json": lambda rows: json.dumps(rows).encode(),
    ".jsonl": lambda rows: "\n".join(json.dumps(row) for row in rows).encode(),
    ".ndjson": lambda rows: "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(),
    ".parquet": parquet,
}


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("suffix", WRITERS)
def test_each_format_gives_the_rows_that_were_written(tmp_path: Path, suffix: str, is_packed: bool) -> None:
    data = WRITERS[suffix](ROWS)
    path = write(tmp_path, f"rows{suffix}{'.gz' if is_packed else ''}", gzip.compress(data) if is_packed else data)
    assert read(path) == ROWS


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(lambda t: t.strip() == t)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries({"text": words, "label": words}), min_size=1, max_size=5))
def test_any_text_survives_csv_and_json_lines(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for suffix in (".csv", ".jsonl"):
        assert read(write(folder, f"rows{suffix}", WRITERS[suffix](rows))) == rows


def test_a_json_object_of_columns_is_read_as_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path, "rows.json", '{"text": ["a", "b"], "label": ["x", "y"]}')) == [
        {"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def test_json_lines_named_json_are_read(tmp_path: Path) -> None:
    assert len(read(write(tmp_path, "rows.json", WRITERS[".jsonl"](ROWS)))) == 3


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "rows.csv", "\ufefftext,label\na,x\n")).names == ["text", "label"]


def test_a_path_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    assert read(write(tmp_path, "rows[1]*.csv", "text,label\na,x\n")) == [{"text": "a", "label": "x"}]


def test_a_value_longer_than_the_csv_limit_is_read_and_the_limit_stays(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    assert len(read(write(tmp_path, "rows.csv", f"text,label\n{'a' * 200_000},x\n"))[0]["text"]) == 200_000
    assert csv.field_size_limit() == limit


def test_class_numbers_become_names_and_minus_one_is_no_label(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value
    from pyarrow import parquet

    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"]),
                         "tags": List(ClassLabel(names=["O", "B-x"]))})
    table = Dataset.from_dict({"text": ["a", "b"], "label": [1, -1], "tags": [[1, 0], [0]]}, features=features)
    parquet.write_table(table.data.table, tmp_path / "rows.parquet")
    read = read_table(tmp_path / "rows.parquet")
    assert (read.column("label"), read.column("tags")) == (["yes", None], [["B-x", "O"], ["O"]])


def test_local_files_leave_nothing_in_the_cache_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    read(write(tmp_path, "rows.parquet", parquet(ROWS)))
    assert not (tmp_path / "cache").exists()


BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "line 2 of a json line file": ("bad.jsonl", '{"text": "a", "label": "x"}\n{"text": }\n',
                                   r"^Line 2 of .*bad\.jsonl is malformed JSON: expecting value at column 10\."),
    "a line that is no object": ("bad.jsonl", "[1]\n", r"^Line 1 of .* is not an object: \[1\]\."),
    "malformed json": ("bad.json", '[\n{"text": "a",}\n]', r"^Line 2 of .*bad\.json is malformed JSON"),
    "json nested too deeply": ("bad.json", "[" * 200_000, "is malformed JSON: it is nested too deeply"),
    "columns of two lengths": ("bad.json", '{"text": ["a"], "label": []}', "object of columns of one length"),
    "a json number": ("bad.json", "3", "is neither a list of objects nor an object of columns"),
    "a list of numbers": ("bad.json", "[3]", r"^Row 1 of .* is not an object: 3\."),
    "a value too few": ("bad.csv", "text,label\na,x\nb\n", r"^Line 3 of .*bad\.csv has 1 values, its header has 2\."),
    "a value too many": ("bad.csv", "text,label\na, b,x\n", r"^Line 2 of .*bad\.csv has 3 values, its header has 2\."),
    "an open quote": ("bad.csv", 'text,label\na,x\n"b,y\nc,z\n', r"^Line 3 of .*bad\.csv is malformed: .*double quote"),
    "a column twice": ("bad.csv", "text,label,label\na,x,y\n", "has the column 'label' twice"),
    "latin-1": ("bad.csv", "text,label\ncafé,x\n".encode("latin-1"), "is not UTF-8: line 2 holds the byte 0xe9"),
    "no bytes": ("bad.csv", "", r"has no rows: the file is empty\. Give a file with at least one row\."),
    "blank lines": ("bad.jsonl", "\n\n", "has no rows: the file is empty"),
    "a header alone": ("bad.csv", "text,label\n", r"bad\.csv has no rows\. Give"),
    "an empty list": ("bad.json", "[]", r"bad\.json has no rows\."),
    "a cut gzip file": ("bad.csv.gz", gzip.compress(b"text,label\na,x\n", mtime=0)[:-9], "is not a whole gzip file"),
    "a false gzip file": ("bad.csv.gz", "text,label\na,x\n", "is not a whole gzip file"),
    "a false parquet file": ("bad.parquet", "nonsense", "is not a whole parquet file"),
    "an unknown extension": ("bad.xlsx", "x", r"is of an unknown kind\. Known: \.csv, \.tsv, \.json, .*\.gz behind"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_used_gets_one_sentence(tmp_path: Path, name: str) -> None:
    file, data, sentence = BAD_FILES[name]
    with pytest.raises(DataError, match=sentence) as caught:
        read(write(tmp_path, file, data))
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_told_with_its_near_misses(tmp_path: Path) -> None:
    write(tmp_path, "intents.csv", "")
    with pytest.raises(DataError, match=r"^No such file: .*intent\.csv\. Did you mean intents\.csv\?"):
        read(tmp_path / "intent.csv")
