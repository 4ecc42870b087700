"""`predict`: texts, or a file whose rows each name their own adapter; JSON lines come out."""

import json
from pathlib import Path
from typing import Any

import click

from adapterhub.cli.output import guarded, print_json, registry_option

ROWS_PER_CALL = 256


@click.command(epilog="Example: adapterhub predict support/banking77 'where is my card?'   or   "
               "adapterhub predict --file rows.jsonl > answers.jsonl")
@click.argument("adapter", required=False)
@click.argument("texts", nargs=-1)
@click.option("--file", "path", type=click.Path(path_type=Path),
              help="JSON lines: {\"adapter\": reference, \"text\": ...}; ADAPTER is for rows that name none.")
@click.option("--base", default="embedded", show_default=True)
@registry_option
@guarded
def predict(adapter: str | None, texts: tuple[str, ...], path: Path | None, base: str, place: str | None) -> None:
    """Answer texts, or a file of rows, with any mixture of adapters; one line of JSON per row."""
    rows: list[tuple[str | None, Any]] = [(adapter, text) for text in texts]
    if path is not None:
        rows += read_request_rows(path, adapter)
    if not rows:
        raise click.UsageError("Give an adapter and texts, or --file.")
    from adapterhub.cli.places import open_places
    from adapterhub.runtime.engine import Runtime

    registries, settings = open_places(place)
    runtime = Runtime(base, registries, settings=settings)
    for start in range(0, len(rows), ROWS_PER_CALL):
        for answer in runtime.predict(rows[start:start + ROWS_PER_CALL]):
            print_json(answer.to_dict())


def read_request_rows(path: Path, adapter: str | None) -> list[tuple[str | None, Any]]:
    """Read rows that name their adapters. Raises DataError with the line's number."""
    from adapterhub.errors import DataError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"No such file: {path}.", hint="Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    rows: list[tuple[str | None, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path} line {number} is no JSON: {error}.") from error
        if not isinstance(row, dict) or not (named := row.pop("adapter", adapter)):
            raise DataError(f"{path} line {number} names no adapter.",
                            hint='Write {"adapter": "ns/name", "text": ...}.')
        rows.append((str(named), row))
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows
