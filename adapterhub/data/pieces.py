"""Files in pieces of some hundred rows, each a table, so that memory holds one piece at a time. It knows no fields."""

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

from adapterhub.data.formats import (
    Table,
    delimited_records,
    json_lines,
    not_utf8,
    parquet_errors,
    reading_errors,
    require_kind,
    table_of_dataset,
    table_of_objects,
    table_of_records,
)
from adapterhub.errors import DataError

PIECE_ROWS = 256
"""Tokenizers spend some 100 bytes on a token, so that a piece of long texts takes tens of megabytes."""
Item = TypeVar("Item")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_pieces(path: Path) -> Iterator[Table]:
    """Yield a file's rows in their order, as tables of at most PIECE_ROWS.

    Raises DataError as `read_table`, where the place of the fault is reached; at once for a kind without pieces.
    """
    kind = require_kind(path)
    if kind == ".json":
        raise DataError(f"{path} is one JSON value, which is read as a whole or not at all.",
                        hint="Write one object per line into a .jsonl file, or leave out --stream.")
    pieces = _parquet_pieces(path) if kind == ".parquet" else _text_pieces(path, kind)
    first = next(pieces, None)
    if first is None:
        raise DataError(f"{path} has no rows.", hint="Give a file with at least one row.")
    return chain([first], pieces)


def in_pieces(items: Iterable[Item], size: int = PIECE_ROWS) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`, the last one perhaps shorter."""
    remaining = iter(items)
    while piece := list(islice(remaining, size)):
        yield piece


def dataset_pieces(dataset: Any, source: str) -> Iterator[Table]:
    """Yield the rows of a `datasets.Dataset`, which lie in a mapped file on the disk, as tables of PIECE_ROWS."""
    for start in range(0, len(dataset), PIECE_ROWS):
        yield table_of_dataset(dataset.select(range(start, min(start + PIECE_ROWS, len(dataset)))), source)


def _text_pieces(path: Path, kind: str) -> Iterator[Table]:
    with reading_errors(path), _open_text(path, newline="\n" if kind not in _DELIMITERS else "") as file:
        try:
            if kind in _DELIMITERS:
                records = delimited_records(file, path, _DELIMITERS[kind])
                header = next(records, [])
                for piece in in_pieces(records):
                    yield table_of_records(header, piece, path)
            else:
                for rows in in_pieces(json_lines(file, path)):
                    yield table_of_objects(rows, path)
        except UnicodeDecodeError as error:
            raise _first_byte_that_is_no_text(path) from error


@contextmanager
def _open_text(path: Path, *, newline: str) -> Iterator[TextIO]:
    if path.suffix.lower() == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline=newline) as packed:
            yield packed
    else:
        with path.open(encoding="utf-8-sig", newline=newline) as plain:
            yield plain


def _first_byte_that_is_no_text(path: Path) -> DataError:
    """Read the file again, line by line: what reads text knows the byte, and not the line."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return not_utf8(path, number, line[error.start])
    raise AssertionError(f"{path} was changed while it was read")


def _parquet_pieces(path: Path) -> Iterator[Table]:
    import pyarrow as pa  # type: ignore[import-untyped]  # slow to import, as `datasets`
    from datasets import Dataset
    from pyarrow import parquet

    with parquet_errors(path), parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(PIECE_ROWS):
            if batch.num_rows:
                yield table_of_dataset(Dataset(pa.Table.from_batches([batch], file.schema_arrow)), str(path))
