"""Files in pieces: what they hold, and what is wrong with them, is what a whole reading tells."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from tiny import write_rows

from adapterhub.data import pieces
from adapterhub.data.formats import Table, read_table
from adapterhub.data.pieces import in_pieces, read_pieces
from adapterhub.errors import DataError

ROWS = [{"text": f"line {i}, with\nbreak", "label": "ab"[i % 2]} for i in range(23)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 5)
    monkeypatch.setattr(in_pieces, "__defaults__", (5,))


def columns_of(tables: list[Table]) -> dict[str, list[Any]]:
    return {name: [value for table in tables for value in table.column(name)] for name in tables[0].names}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "csv.gz", "jsonl.gz", "parquet"])
def test_pieces_hold_what_the_whole_holds(kind: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / f"rows.{kind}", ROWS)
    found = list(read_pieces(path))
    assert [table.n_rows for table in found] == [5, 5, 5, 5, 3]
    assert columns_of(found) == columns_of([read_table(path)])


@pytest.mark.parametrize(("name", "data"), [
    ("rows.jsonl", b'{"text": "a"}\n' * 12 + b"{broken\n"),
    ("rows.jsonl", b'{"text": "a"}\n' * 12 + b"[1]\n"),
    ("rows.jsonl", b'{"text": "a"}\n' * 12 + b'{"text": "\xe9"}\n'),
    ("rows.csv", b"text,label\n" + b"a,b\n" * 12 + b"a,b,c\n"),
    ("rows.csv", b"text,label\n" + b"a,b\n" * 12 + b'"a,b\n'),
    ("rows.csv", b"text,text\na,b\n"),
    ("rows.csv", b"text,label\n"),
    ("rows.jsonl", b"\n\n"),
    ("rows.csv.gz", gzip.compress(b"text,label\n" + b"a,b\n" * 2000, mtime=0)[:-12]),
    ("rows.parquet", b"PAR1 no"),
    ("rows.txt", b"a"),
])
def test_a_fault_is_told_as_the_whole_reading_tells_it(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as whole:
        read_table(path)
    with pytest.raises(DataError) as piecewise:
        list(read_pieces(path))
    if name == "rows.parquet":  # pyarrow's own words differ with the way in
        assert "is not a whole parquet file" in str(piecewise.value)
    elif name == "rows.jsonl" and not data.strip():
        assert "has no rows" in str(piecewise.value)
    else:
        assert str(piecewise.value) == str(whole.value)


def test_one_json_value_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is one JSON value.*\.jsonl file, or leave out --stream"):
        read_pieces(write_rows(tmp_path / "rows.json", ROWS))
