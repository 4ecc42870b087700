"""Rows from a file or a Hugging Face data set, through `datasets`, with every fault told by its row."""

import ast
import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapterhub.data.columns import Columns, match_columns
from adapterhub.errors import DataError, did_you_mean, near_misses

Rows = list[dict[str, Any]]

_BUILDERS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}
_LIST_FIELDS = ("tokens", "tags")
_MAX_FAULTS = 5


def read_rows(source: Path, *, columns: Columns, given: Mapping[str, str]) -> Rows:
    """Read one file's rows: csv, tsv, json, jsonl (also .gz), parquet; keyed by field.

    Raises DataError for no such file, an unknown kind, no rows, a missing column, or rows at fault (by number).
    """
    table = _load_file(source)
    if len(table) == 0:
        raise DataError(f"{source} has no rows.", hint="Give a file with at least one row below its header.")
    return to_rows(table, source=str(source), columns=columns, given=given)


def to_rows(table: Any, *, source: str, columns: Columns, given: Mapping[str, str]) -> Rows:
    """Turn a `datasets.Dataset` into rows keyed by field; labels become strings. Raises DataError."""
    matched = match_columns(table.column_names, columns, given, source=source)
    names = {name: _class_names(table.features[column]) for name, column in matched.items()}
    table = table.select_columns(list(dict.fromkeys(matched.values())))
    faults: list[str] = []
    rows: Rows = []
    for number, raw in enumerate(table, start=1):
        row = {name: _value(name, raw[column], names[name]) for name, column in matched.items()}
        row = {name: value for name, value in row.items() if value is not None or name in columns.required}
        if fault := _fault(row, columns):
            faults.append(f"row {number} {fault}")
        rows.append(row)
    if faults:
        more = f" and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise DataError(f"{source}: {'; '.join(faults[:_MAX_FAULTS])}{more}.", hint="Mend or remove these rows.")
    return rows


def file_kind(path: Path) -> str | None:
    """Return the `datasets` builder for a file's name, None where there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _BUILDERS.get(suffixes[-1]) if suffixes else None


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """Hold back the progress bars and logs of `datasets` inside the block."""
    import datasets

    verbosity, has_bars = datasets.logging.get_verbosity(), datasets.is_progress_bar_enabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if has_bars:
            datasets.enable_progress_bars()


def _load_file(path: Path) -> Any:
    import datasets

    if not path.is_file():
        near = near_misses(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else []
        raise DataError(f"No such file: {path}.", hint=did_you_mean(near) or "Check the path.")
    kind = file_kind(path)
    if kind is None:
        raise DataError(f"{path.name} is of an unknown kind.",
                        hint=f"Known: {', '.join(_BUILDERS)}, also with .gz behind.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} has no rows: the file is empty.", hint="Give a file with rows.")
    options: dict[str, Any] = {}
    if kind == "csv":
        options = {"sep": "\t" if ".tsv" in path.suffixes else ",", "keep_default_na": False}
    # Pickled cache files of other people's data have no place in the user's home.
    with tempfile.TemporaryDirectory() as cache, quiet_datasets():
        try:
            return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=cache,
                                         keep_in_memory=True, **options)
        except Exception as error:  # datasets raises many kinds, all meaning: this file cannot be read
            cause = error.__cause__ or error
            raise DataError(f"{path} cannot be read as {kind} ({str(cause).splitlines()[0].rstrip('.')}).",
                            hint="Check that it is UTF-8 and whole.") from error


def _class_names(feature: Any) -> list[str] | None:
    feature = getattr(feature, "feature", feature)
    return getattr(feature, "names", None)


def _value(name: str, value: Any, names: list[str] | None) -> Any:
    if value is None:
        return None
    if name in _LIST_FIELDS:
        values = _as_list(value)
        return [names[v] if names and isinstance(v, int) else str(v) for v in values]
    if name == "score":
        try:
            return float(value)
        except (TypeError, ValueError):
            return value
    return (names[value] if names and isinstance(value, int) else str(value)).strip()


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, str):
        return list(value)
    if value.lstrip().startswith("["):
        try:
            return list(json.loads(value))
        except ValueError:
            with contextlib.suppress(ValueError, SyntaxError):
                return list(ast.literal_eval(value))
    return value.split()


def _fault(row: Mapping[str, Any], columns: Columns) -> str | None:
    for name in (*columns.required, *(name for name in columns.optional if name in row)):
        if row.get(name) is None or row[name] == "" or row[name] == []:
            return f"has no {name}"
        if name == "score" and not isinstance(row[name], float):
            return f"has the score {row[name]!r}, expected a number"
    if "tags" in row:
        if len(row["tokens"]) != len(row["tags"]):
            return f"has {len(row['tokens'])} tokens and {len(row['tags'])} tags"
        bad = [tag for tag in row["tags"] if tag != "O" and not (tag[:2] in ("B-", "I-") and tag[2:])]
        if bad:
            return f"has the tag {bad[0]!r}, expected O, B-TYPE or I-TYPE"
    return None
