"""What commands print: tables for people, JSON for programs, one sentence and exit code 2 for faults."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from adapterhub.errors import AdapterHubError

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
EXIT_FAULT = 2
UNSEEN_WIDTH = 200
"""Columns of a table that goes to a file or a pipe, where no terminal says how many there are."""


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into one sentence on standard error and exit code 2; quieten foreign libraries."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _quieten_libraries()
        _spin_shortly()
        try:
            command(*args, **kwargs)
            sys.stdout.flush()  # what does not arrive shall be known here, not while Python ends
        except AdapterHubError as error:
            fail(str(error))
        except KeyboardInterrupt:
            fail("Stopped; nothing is left half written.")
        except BrokenPipeError:
            # Who reads has closed the pipe (`| head`); Python's own flush at exit must find somewhere to write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return run


def fail(sentence: str) -> None:
    """Print a fault's sentence and leave with exit code 2."""
    shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(sentence.split()))
    click.echo(f"Error: {shown}", err=True)  # a name in a file may hold signs that move the cursor
    raise SystemExit(EXIT_FAULT)


def print_json(value: Any) -> None:
    """Print one value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, sort_keys=True))


def print_table(title: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print a table under its title, its first column never cut; only the title where there is no line."""
    click.echo(title if lines else f"{title}.")
    if not lines:
        return
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for number, name in enumerate(header):
        table.add_column(name, no_wrap=number == 0, overflow="ignore" if number == 0 else "fold")
    for line in lines:
        table.add_row(*(Text(str(cell)) for cell in line))  # as text: brackets in a value are no markup
    output_console().print(table)


def output_console() -> "Console":
    """Return a console on standard output that leaves a closed pipe to `guarded`."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    is_seen = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Output(width=None if is_seen else UNSEEN_WIDTH)


def json_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def registry_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--registry`."""
    return click.option("--registry", "place", metavar="PLACE",
                        help="A folder, a bucket or hf://organisation; default: ADAPTERHUB_REGISTRY, else your data "
                             "folder.")(command)


def trust_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--trust`."""
    return click.option("--trust", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
                        help="A public key or certificate (PEM): take only what it has signed; give it again for "
                             "several.")(command)


def base_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--base`."""
    return click.option("--base", default="embedded", show_default=True,
                        help="embedded, a local folder, or a Hub id.")(command)


def _quieten_libraries() -> None:
    warnings.simplefilter("ignore")
    for name in ("transformers", "datasets", "peft", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _spin_shortly() -> None:
    """Let OpenMP's threads, which torch starts later, wait asleep rather than spinning; a setting given outside wins.

    By default a thread spins 300,000 times for the others, also for one whose processor somebody else uses. 54 training
    steps on two cores: 6.6 s alone and 110 s on a busy machine; so, 7.5 s alone and 12.8 s beside one busy process.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
