"""Files into tables of raw columns: csv, tsv, json, jsonl and parquet, each also as .gz. It knows no fields.

Text formats are read by the standard library: no value changes its type ("007" stays "007"), and a broken line is told
by its number. Parquet goes through `datasets`, which keeps the names of class labels.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.errors import DataError, did_you_mean, near_misses

_NO_ROWS_HINT = "Give a file with at least one row."


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Raw columns of one length, read when asked for; absent values are None."""

    source: str
    """How errors name it."""
    names: list[str]
    n_rows: int
    column: Callable[[str], list[Any]]
    """Gives a column's values by its name."""


def file_kind(path: Path) -> str | None:
    """Return the extension that decides how a file is read, without .gz; None where it is unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in _PARSERS else None


def read_table(path: Path) -> Table:
    """Read a whole file.

    Raises DataError for no such file, an unknown extension, no rows, bytes that are not UTF-8 or not whole, a bad line.
    """
    kind = require_kind(path)
    data = _read_bytes(path)
    if not data.strip():
        raise DataError(f"{path} has no rows: the file is empty.", hint=_NO_ROWS_HINT)
    table = _PARSERS[kind](data, path)
    if table.n_rows == 0:
        raise DataError(f"{path} has no rows.", hint=_NO_ROWS_HINT)
    return table


def table_of_dataset(dataset: Any, source: str) -> Table:
    """Return a `datasets.Dataset` as a table; class numbers become their names, -1 (no label) becomes None."""
    def column(name: str) -> list[Any]:
        values: list[Any] = dataset.select_columns([name]).with_format("arrow")[:].column(name).to_pylist()
        feature = dataset.features[name]
        names = getattr(getattr(feature, "feature", feature), "names", None)  # a list's feature is that of its items
        if names is None:
            return values
        return [[_class_name(names, item) for item in value] if isinstance(value, list) else _class_name(names, value)
                for value in values]

    return Table(source=source, names=list(dataset.column_names), n_rows=len(dataset), column=column)


def require_kind(path: Path) -> str:
    """Return `file_kind`. Raises DataError for no such file, or an unknown extension."""
    if not path.is_file():
        near = near_misses(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else []
        raise DataError(f"No such file: {path}.", hint=did_you_mean(near) or "Check the path.")
    if (kind := file_kind(path)) is None:
        raise DataError(f"{path} is of an unknown kind.",
                        hint=f"Known: {', '.join(_PARSERS)}, each also with .gz behind.")
    return kind


def _read_bytes(path: Path) -> bytes:
    with reading_errors(path):
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix.lower() == ".gz" else data


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn what reading a file raises, packed or not, into a DataError that names it."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {str(error).rstrip('.')}.",
                        hint="Fetch or pack it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.", hint="Check its permissions.") from error


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise not_utf8(path, line, data[error.start]) from error


def not_utf8(path: Path, line: int, byte: int) -> DataError:
    """Return the error of a file whose given line, from 1, holds a byte that is no UTF-8."""
    other = "utf-16" if line == 1 and byte in (0xfe, 0xff) else "latin1"  # the mark that begins such a file
    return DataError(f"{path} is not UTF-8: line {line} holds the byte 0x{byte:02x}.",
                     hint=f"Save it as UTF-8, for instance with `iconv -f {other} -t utf-8`.")


def _parse_csv(data: bytes, path: Path) -> Table:
    return _parse_delimited(data, path, ",")


def _parse_tsv(data: bytes, path: Path) -> Table:
    return _parse_delimited(data, path, "\t")


def _parse_delimited(data: bytes, path: Path, delimiter: str) -> Table:
    records = list(delimited_records(io.StringIO(_text(data, path), newline=""), path, delimiter))
    return table_of_records(records[0] if records else [], records[1:], path)


def delimited_records(lines: Iterable[str], path: Path, delimiter: str) -> Iterator[list[str]]:
    """Yield the header, then each record with as many values. Raises DataError for a line at fault, by its number."""
    csv.field_size_limit(sys.maxsize)  # a long document is no fault
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    line = 1
    try:
        for record in reader:
            if record and not header:
                header = _require_header(record, path)
                yield header
            elif record:
                if len(record) != len(header):
                    raise DataError(f"Line {line} of {path} has {len(record)} values, its header has {len(header)}.",
                                    hint="Put values that hold the delimiter in double quotes.")
                yield record
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"Line {line} of {path} is malformed: {error}.",
                        hint="Close each double quote, and double those inside a quoted value.") from error


def table_of_records(header: list[str], records: Sequence[list[str]], path: Path) -> Table:
    """Return a file's records as a table."""
    columns = {name: [record[i] for record in records] for i, name in enumerate(header)}
    return Table(source=str(path), names=header, n_rows=len(records), column=columns.__getitem__)


def _require_header(header: list[str], path: Path) -> list[str]:
    header = [name.strip() for name in header]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path} has the column {twice[0]!r} twice.", hint="Rename or remove one of them.")
    return header


def _parse_jsonl(data: bytes, path: Path) -> Table:
    return table_of_objects(list(json_lines(_text(data, path).split("\n"), path)), path)


def json_lines(lines: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
    """Yield the object of each line that is not empty. Raises DataError for a line at fault, by its number."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"Line {number} of {path} is malformed JSON: {_json_fault(error)}.",
                                hint="Each line holds one object.") from error
            if not isinstance(value, dict):
                raise DataError(f"Line {number} of {path} is not an object: {line.strip()[:40]}.",
                                hint='Each line looks like {"text": "...", "label": "..."}.')
            yield value


def _parse_json(data: bytes, path: Path) -> Table:
    text = _text(data, path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return _parse_jsonl(data, path)  # JSON lines named .json, as `Dataset.to_json` writes them
        line = f"Line {error.lineno} of " if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{line}{path} is malformed JSON: {_json_fault(error)}.",
                        hint="Check the file at that place.") from error
    if isinstance(value, list):
        return _parse_list(value, path)
    lengths = {len(column) if isinstance(column, list) else None for column in _values(value)}
    if len(lengths) != 1 or None in lengths:
        raise DataError(f"{path} is neither a list of objects nor an object of columns of one length.",
                        hint='Write it as [{"text": "...", "label": "..."}, ...].')
    return Table(source=str(path), names=list(value), n_rows=lengths.pop() or 0, column=value.__getitem__)


def _json_fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _values(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else ()


def _parse_list(value: list[Any], path: Path) -> Table:
    for number, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise DataError(f"Row {number} of {path} is not an object: {str(row)[:40]}.",
                            hint='Each row looks like {"text": "...", "label": "..."}.')
    return table_of_objects(value, path)


def table_of_objects(rows: list[dict[str, Any]], path: Path) -> Table:
    """Return objects as a table of all their names; where one lacks a name its value is None."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Table(source=str(path), names=names, n_rows=len(rows), column=lambda name: [row.get(name) for row in rows])


def _parse_parquet(data: bytes, path: Path) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped]  # slow to import, as `datasets`
    from datasets import Dataset
    from pyarrow import parquet

    with parquet_errors(path):
        return table_of_dataset(Dataset(parquet.read_table(pa.BufferReader(data))), str(path))


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises of a parquet file into a DataError that names it."""
    import pyarrow as pa  # slow to import

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a whole parquet file: {str(error).splitlines()[0].rstrip('.')}.",
                        hint="Fetch or write it again.") from error


def _class_name(names: list[str], value: int | None) -> str | None:
    """Upstream marks rows without a label by -1, which Python would read as the last class."""
    return None if value is None or value < 0 else names[value]


_PARSERS: dict[str, Callable[[bytes, Path], Table]] = {
    ".csv": _parse_csv, ".tsv": _parse_tsv, ".json": _parse_json, ".jsonl": _parse_jsonl, ".ndjson": _parse_jsonl,
    ".parquet": _parse_parquet,
}
