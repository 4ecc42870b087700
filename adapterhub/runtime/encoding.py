"""Waiting rows into token sequences: rows of one task and form are encoded together, a row at fault fails alone."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from adapterhub.bases.load import Base
from adapterhub.errors import AdapterHubError, PredictionError
from adapterhub.runtime.loaded import LoadedAdapter
from adapterhub.runtime.plan import WaitingRow
from adapterhub.tasks.task import Example, Row, Task


def encode_rows(rows: list[WaitingRow], adapters: Mapping[str, LoadedAdapter], base: Base,
                fail: Callable[[WaitingRow, AdapterHubError], None]) -> None:
    """Set each row's example, or call `fail` with the row and its error."""
    groups: dict[Any, list[tuple[WaitingRow, Row]]] = defaultdict(list)
    for row in rows:
        adapter = adapters[row.digest]
        max_length = adapter.max_length if adapter.task.has_stretches else None
        try:
            parsed = adapter.task.parse_row(row.row)
            groups[adapter.task.name, tuple(sorted(parsed)), max_length or base.max_length].append((row, parsed))
        except AdapterHubError as error:
            fail(row, _of_row(row, error))
    for (_, _, max_length), members in groups.items():
        _encode_group(members, adapters[members[0][0].digest].task, base, max_length, fail)


def _encode_group(members: list[tuple[WaitingRow, Row]], task: Task, base: Base, max_length: int,
                  fail: Callable[[WaitingRow, AdapterHubError], None]) -> None:
    try:
        examples = task.encode([parsed for _, parsed in members], base.tokenizer, [], max_length)
    except AdapterHubError as error:
        if len(members) > 1:
            for member in members:
                _encode_group([member], task, base, max_length, fail)
        else:
            fail(members[0][0], _of_row(members[0][0], error))
        return
    for (row, _), example in zip(members, examples, strict=True):
        if example.is_truncated and not row.is_truncated:
            fail(row, _of_row(row, _too_long(example, base)))
        else:
            row.example = example


def _too_long(example: Example, base: Base) -> PredictionError:
    return PredictionError(f"The text is longer than the {base.max_length} tokens that the base reads.",
                           hint="Shorten it, or ask for it to be cut (truncate).")


def _of_row(row: WaitingRow, error: AdapterHubError) -> PredictionError:
    return PredictionError(f"{row.name}: {error.message}", hint=error.hint)
