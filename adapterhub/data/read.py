"""Rows from a table, keyed by field, with every fault told by its row. It knows no tasks and no splits."""

import ast
import contextlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterhub.data.answers import parse_answers, place_answers
from adapterhub.data.chats import chat_fault, parse_messages
from adapterhub.data.columns import Columns, match_columns
from adapterhub.data.formats import Table, read_table
from adapterhub.errors import DataError

Rows = list[dict[str, Any]]

_LIST_FIELDS = ("tokens", "tags", "labels", "references")
_KEPT_FIELDS = ("context", "prompt", "completion")
"""Texts that keep their outer spaces: answers are found by their place, and what is written begins with its own."""
_BETWEEN_LABELS = re.compile(r"\s*[|;,]\s*")
_BETWEEN_WORDS = re.compile(r"\s+")
_MAX_FAULTS = 5


def read_rows(source: Path, *, columns: Columns, given: Mapping[str, str]) -> Rows:
    """Read one file's rows: csv, tsv, json, jsonl, parquet (also .gz); keyed by field.

    Raises DataError for no such file, an unknown kind, a malformed line, no rows, a missing column, or rows at fault
    (by number); UnknownName where `given` names a field that the task does not have.
    """
    return to_rows(read_table(source), columns=columns, given=given)


def to_rows(table: Table, *, columns: Columns, given: Mapping[str, str], first_number: int = 1) -> Rows:
    """Turn a table into rows keyed by field; labels and tags become strings. Raises as `read_rows`.

    `first_number` is what faults call the first row.
    """
    columns = columns.chosen_for(table.names, given)
    matched = match_columns(table.names, columns, given, source=table.source)
    raw = {name: table.column(column) for name, column in matched.items()}
    faults: list[str] = []
    rows: Rows = []
    for number, values in enumerate(zip(*raw.values(), strict=True), start=first_number):
        row = {name: _value(name, value) for name, value in zip(raw, values, strict=True)}
        row = {name: value for name, value in row.items() if name in columns.required or value not in (None, "")}
        if fault := _fault(row, columns):
            faults.append(f"row {number} {fault}")
        rows.append(row)
    # A column that only some rows fill is a fault of the others; one that none fills is not there.
    partial = [name for name in columns.optional if 0 < sum(name in row for row in rows) < len(rows)]
    faults += [f"row {number} has no {name}" for name in partial
               for number, row in enumerate(rows, start=first_number) if name not in row]
    if faults:
        more = f" and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise DataError(f"{table.source}: {'; '.join(faults[:_MAX_FAULTS])}{more}.", hint="Mend or remove these rows.")
    return rows


def _value(name: str, value: Any) -> Any:
    """Return a raw value as its field's type where it can be; `_fault` tells the others."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if name == "answers":
        return parse_answers(value)
    if name == "messages":
        return parse_messages(value)
    if name in _KEPT_FIELDS and isinstance(value, str):
        return value
    if name == "references" and isinstance(value, str) and not value.lstrip().startswith("["):
        return [value]
    if name in _LIST_FIELDS:
        items = _as_list(value, _BETWEEN_LABELS if name == "labels" else _BETWEEN_WORDS)
        return items if items is None else ["" if item is None else str(item) for item in items]
    if name == "score":
        try:
            return float(value)
        except (TypeError, ValueError):
            return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # an integer column with gaps is floating point in parquet
    return str(value).strip() if isinstance(value, str | int | float) else value


def _as_list(value: Any, between: re.Pattern[str]) -> list[Any] | None:
    if not isinstance(value, str):
        return list(value) if isinstance(value, list | tuple) else None
    if value.lstrip().startswith("["):
        for parse in (json.loads, ast.literal_eval):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError):
                return list(parse(value))
    return [item for item in between.split(value.strip()) if item]


def _fault(row: Mapping[str, Any], columns: Columns) -> str | None:
    """Return what is wrong with a row, None where nothing is."""
    for name in (*columns.required, *(name for name in columns.optional if name in row)):
        value = row.get(name)
        if value is None or (value == [] and name != "labels") or (isinstance(value, str) and not value.strip()):
            return f"has no {name}"
        if name in ("answers", "messages"):
            continue
        if name == "score":
            if not isinstance(value, float) or not math.isfinite(value):
                return f"has the score {value!r}, expected a number"
        elif name not in _LIST_FIELDS and not isinstance(value, str):
            return f"has a {type(value).__name__} as its {name}, expected a string"
        elif name == "labels" and "" in value:
            return "has an empty label"
        elif not _is_unicode(value):
            return f"has a {name} with half a surrogate pair, which is no text"
    if "messages" in row:
        return chat_fault(row["messages"])
    return place_answers(row) if "answers" in row and "context" in row else _tag_fault(row)


def _tag_fault(row: Mapping[str, Any]) -> str | None:
    if "tags" not in row or "tokens" not in row:
        return None
    if len(row["tokens"]) != len(row["tags"]):
        return f"has {len(row['tokens'])} tokens and {len(row['tags'])} tags"
    bad = [tag for tag in row["tags"] if tag != "O" and not (tag[:2] in ("B-", "I-") and tag[2:])]
    return f"has the tag {bad[0]!r}, expected O, B-TYPE or I-TYPE" if bad else None


def _is_unicode(value: str | list[str]) -> bool:
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        return False
    return True
