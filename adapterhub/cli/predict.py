"""`predict`: texts, or a file whose rows each name their own adapter; JSON lines come out."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import base_option, guarded, print_json, registry_option

if TYPE_CHECKING:
    from adapterhub.runtime.engine import Runtime

ROWS_PER_CALL = 256
"""Answers come out after so many rows; all rows are checked before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One row to answer."""

    place: str
    """How a fault names it: `rows.jsonl line 3`."""
    adapter: str
    row: Any


@click.command(epilog="Example: adapterhub predict support/banking77 'where is my card?'   or   "
               "adapterhub predict --file rows.jsonl > answers.jsonl")
@click.argument("adapter", required=False)
@click.argument("texts", nargs=-1)
@click.option("--file", "path", metavar="FILE", help="JSON lines such as {\"adapter\": \"support/intents@production\", "
              "\"text\": \"where is my card?\"}, - for standard input; ADAPTER is for rows that name none.")
@click.option("--truncate", is_flag=True, help="Cut texts that are longer than the base reads, instead of refusing.")
@base_option
@registry_option
@guarded
def predict(adapter: str | None, texts: tuple[str, ...], path: str | None, truncate: bool, base: str,
            place: str | None) -> None:
    """Answer texts, or a file of rows, with any mixture of adapters; one line of JSON per row, in their order.

    ADAPTER is namespace/name, or ./folder for an adapter that is not published.
    """
    rows = [RequestRow(place=f"text {i}", adapter=adapter or "", row=text) for i, text in enumerate(texts, start=1)]
    if path is not None:
        rows += read_request_rows(path, adapter)
    if not rows:
        raise click.UsageError("Give an adapter and texts, or --file.")
    from adapterhub.cli.places import open_places
    from adapterhub.progress import progress_bar, waiting
    from adapterhub.registry import WithFolders

    registries, settings = open_places(place)
    for reference in dict.fromkeys(row.adapter for row in rows):
        WithFolders(registries).resolve(reference)  # a wrong name is told before torch is loaded
    with waiting("loading the base"):
        from adapterhub.runtime.engine import Runtime

        runtime = Runtime(base, registries, settings=settings)
        check_rows(runtime, rows, truncate=truncate)
    with progress_bar("answering", len(rows)) as progress:
        for start in range(0, len(rows), ROWS_PER_CALL):
            part = rows[start:start + ROWS_PER_CALL]
            for answer in runtime.predict([(row.adapter, row.row) for row in part], truncate=truncate):
                print_json(answer.to_dict())
            progress.update(start + len(part))


def read_request_rows(path: str, adapter: str | None, *, field: str = "text") -> list[RequestRow]:
    """Read rows that name their adapters, from a file or, for `-`, standard input; `field`: what rows hold, for hints.

    Raises DataError with the line's number.
    """
    from adapterhub.errors import DataError

    name = "standard input" if path == "-" else path
    rows = []
    for number, line in enumerate(_read_text(path, name).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{name} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is no JSON: {line.strip()[:60]}.",
                            hint=f'Write {{"adapter": "namespace/name", "{field}": "..."}}.') from error
        named = row.pop("adapter", None) or adapter if isinstance(row, dict) else None
        if not isinstance(named, str):
            raise DataError(f"{place} names no adapter: {line.strip()[:60]}.",
                            hint=f'Write {{"adapter": "namespace/name", "{field}": "..."}}.')
        rows.append(RequestRow(place=place, adapter=named, row=row))
    if not rows:
        raise DataError(f"{name} has no rows.", hint="Give a file with at least one row.")
    return rows


def check_rows(runtime: "Runtime", rows: list[RequestRow], *, truncate: bool) -> None:
    """Load every adapter and encode every row, so that a fault is told before the first answer.

    Raises PredictionError with the row's place; what `Runtime.load` raises.
    """
    from adapterhub.errors import AdapterHubError, PredictionError
    from adapterhub.tasks.table import find_task

    base = runtime.base
    tasks = {reference: find_task(runtime.registry.read(runtime.load(reference)).manifest.task)
             for reference in dict.fromkeys(row.adapter for row in rows)}
    for row in rows:
        task = tasks[row.adapter]
        try:
            example = task.encode([task.parse_row(row.row)], base.tokenizer, [], base.max_length)[0]
        except AdapterHubError as error:
            raise PredictionError(f"{row.place}: {error.message}", hint=error.hint) from error
        if example.is_truncated and not truncate:
            raise PredictionError(f"{row.place} is longer than the {base.max_length} tokens that the base reads.",
                                  hint="Shorten it, or give --truncate.")


def _read_text(path: str, name: str) -> str:
    from adapterhub.errors import DataError

    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"No such file: {path}.", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8.", hint="Save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.", hint="Check the path.") from error
