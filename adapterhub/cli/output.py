"""What commands print: tables for people, JSON for programs, one sentence and exit code 2 for faults."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import click

from adapterhub.errors import AdapterHubError

P = ParamSpec("P")
EXIT_FAULT = 2


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into one sentence on standard error and exit code 2; quieten foreign libraries."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _quieten_libraries()
        try:
            command(*args, **kwargs)
        except AdapterHubError as error:
            fail(str(error))
        except KeyboardInterrupt:
            fail("Stopped; nothing was written.")
        except BrokenPipeError:
            # Who reads has closed the pipe (`| head`); Python's own flush at exit must find somewhere to write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return run


def fail(sentence: str) -> None:
    """Print a fault's sentence and leave with exit code 2."""
    click.echo(f"Error: {sentence}", err=True)
    raise SystemExit(EXIT_FAULT)


def print_json(value: Any) -> None:
    """Print one value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, sort_keys=True))


def print_table(title: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name)
    for line in lines:
        table.add_row(*(str(cell) for cell in line))
    Console().print(table)


def json_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def registry_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--registry`."""
    return click.option("--registry", "place", metavar="PLACE",
                        help="A folder or bucket; default: ADAPTERHUB_REGISTRY, else your data folder.")(command)


def _quieten_libraries() -> None:
    warnings.simplefilter("ignore")
    for name in ("transformers", "datasets", "peft", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
