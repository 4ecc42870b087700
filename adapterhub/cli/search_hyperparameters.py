"""`search-hyperparameters`: many trials on one base, pruned and resumable; the best is trained on all and written."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import fail, guarded, json_option, print_json, registry_option
from adapterhub.cli.report import print_sections, train_page
from adapterhub.cli.run_settings import column_setting, config_option, given_settings, shared_settings
from adapterhub.errors import InvalidConfig
from adapterhub.extras import require_extra
from adapterhub.progress import waiting

if TYPE_CHECKING:
    from rich.table import Table

    from adapterhub.searching.search import SearchResult
    from adapterhub.searching.study import TrialFacts

_ROWS_SEEN = 25
"""Lines of the live table: the newest trials."""


@click.command("search-hyperparameters", epilog="Example: adapterhub search-hyperparameters --task text-classification "
               "--data rows.csv --output folder --space 'learning_rate=1e-4:1e-2:log' --space 'rank=4|8' --trials 30")
@config_option
@shared_settings("--task", "--data", "--output", "--base", told={
    "--task": "As for `train`.",
    "--data": "As for `train`; trials are judged by the validation rows.",
    "--output": "The adapter folder to write; the study lies beside it."})
@column_setting
@shared_settings("--method", "--targets", "--epochs", "--max-length", "--metric", "--patience", "--seed", "--licence",
                 "--source", told={
    "--method": "PEFT method, where it is not searched.",
    "--epochs": "Passes of a trial, unless it is pruned.",
    "--metric": "Validation metric to make best.",
    "--patience": "Epochs without a better one before a trial stops.",
    "--seed": "Of every trial, and of what is drawn."})
@click.option("--space", "spaces", multiple=True, metavar="NAME=VALUES", help="low:high, low:high:log or a|b|c for "
              "learning_rate, rank, batch_size, targets, method, ...; also [space] in --config.  [default: "
              "learning_rate=1e-4:1e-2:log rank=4|8|16|32 batch_size=16|32|64]")
@click.option("--trials", default=20, show_default=True, type=click.IntRange(min=1),
              help="In all, earlier runs counted.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="After which no trial begins.")
@click.option("--pruner", default="median", show_default=True, type=click.Choice(["median", "hyperband", "none"]),
              help="What ends trials that fall behind.")
@click.option("--publish", "name", metavar="NAMESPACE/NAME", help="Publish what was trained.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE",
              help="The page about the search, .html or .md.  [default: beside the folder]")
@registry_option
@json_option
@guarded
def search_hyperparameters(config_file: Path | None, spaces: tuple[str, ...], trials: int, minutes: float | None,
                           pruner: str, name: str | None, report: Path | None, place: str | None,
                           as_json: bool) -> None:
    """Search for the settings that train best, then train with them on all rows but the test rows.

    Ctrl-C keeps the study; the same command goes on with it.
    """
    from adapterhub.adapter.reference import parse_path
    from adapterhub.cli.places import open_places
    from adapterhub.training.config_file import parse_config

    require_extra("search", ["optuna"])
    given = given_settings(config_file)
    table = given.pop("space", {})
    if not isinstance(table, dict):
        raise InvalidConfig(f"space is {table!r}, expected a table.",
                            hint="Write [space] with a line for each setting.")
    config = parse_config(given)
    if name:
        parse_path(name)
    page = train_page(config.output, report)
    registries, settings = open_places(place)
    with waiting("loading torch, transformers, peft and optuna"):
        from adapterhub.searching.search import Budget, search
        from adapterhub.searching.space import parse_space
    space = parse_space(spaces, table)
    with live_board() as tell:
        result = search(config, space, Budget(n_trials=trials, minutes=minutes), settings, pruner=pruner, tell=tell)
    _write_page(page, config.output, result)
    published = registries.publish(config.output, name).reference if name and result.trained else None
    _print(result, page, published, as_json=as_json)
    if result.is_stopped:
        fail(f"Stopped after {len(result.trials)} trials; the study is in {result.study}, the same command goes on.")


@contextmanager
def live_board() -> Iterator[Callable[[Sequence["TrialFacts"]], None]]:
    """Yield what shows the trials as they go, on standard error, where it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda trials: None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield lambda trials: live.update(board(trials))


def board(trials: Sequence["TrialFacts"]) -> "Table":
    """Return the live table: the newest trials, with the metric after their last epoch."""
    from rich.table import Table
    from rich.text import Text

    from adapterhub.searching.sections import trials_section

    section = trials_section(trials[-_ROWS_SEEN:], "value")
    table = Table(title=f"{len(trials)} trials")
    for column in section.header:
        table.add_column(column)
    for line in section.lines:
        table.add_row(*(Text(cell) for cell in line))
    return table


def _write_page(page: Path, output: Path, result: "SearchResult") -> None:
    from adapterhub.reporting.page import write_page
    from adapterhub.reporting.sections import sections_of
    from adapterhub.searching.sections import search_sections

    found = sections_of(result.trained.findings, has_pictures=True) \
        if result.trained and result.trained.evaluation.n_rows else []
    write_page(page, f"{output.name}: search of hyperparameters", [*search_sections(result), *found])


def _print(result: "SearchResult", page: Path, published: str | None, *, as_json: bool) -> None:
    from adapterhub.reporting.sections import sections_of
    from adapterhub.searching.sections import trials_section

    trained = result.trained
    if as_json:
        print_json(_facts(result, published))
        return
    print_sections([trials_section(result.trials, result.metric, result.best.number)])
    if trained and trained.evaluation.n_rows:
        print_sections(sections_of(trained.findings, has_pictures=False))
    click.echo(f"Best: trial {result.best.number}, {result.metric} {result.best.value:.4f} on the validation rows. "
               f"Wrote {page}, the report; the study is in {result.study}.")
    if trained:
        click.echo(f"Trained with it on training and validation rows. Wrote {trained.folder}."
                   + (f" Published {published}." if published else ""))


def _facts(result: "SearchResult", published: str | None) -> dict[str, Any]:
    trained = result.trained
    return {"metric": result.metric, "best": asdict(result.best), "trials": [asdict(trial) for trial in result.trials],
            "study": str(result.study), "folder": str(trained.folder) if trained else None, "published": published,
            "metrics": trained.evaluation.metrics if trained else {}}
