"""The frame of every scenario: its options, what it prints to, and shares with how sure they are."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import click
from rich.console import Console

from adapterhub.cli.output import json_option
from adapterhub.demo.show import Screen
from adapterhub.reporting.figures import mean_share
from adapterhub.reporting.intervals import Interval, differences, intervals

QUICK_SHARE = 5
"""`--quick` takes one row of so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a scenario was called."""

    n_rows: int
    """Test rows; validation rows, from which thresholds come, are as many."""
    seed: int = 0
    """Of everything that is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of rows, with its 95 % interval over rows."""

    value: float
    low: float
    high: float
    n_rows: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {self.n_rows} rows)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much one share is above another of the same rows, with its 95 % interval over rows."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def scenario_options(n_rows: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--rows`, `--quick`, `--seed` and `--json`; without them, `n_rows` test rows are taken."""
    def add(command: Callable[..., None]) -> Callable[..., None]:
        rows = click.option("--rows", type=click.IntRange(min=10), default=n_rows, show_default=True,
                            help="Test rows, and as many validation rows.")
        quick = click.option("--quick", is_flag=True, help=f"Only one row of {QUICK_SHARE}.")
        seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all drawing.")
        return rows(quick(seed(json_option(command))))
    return add


def options_of(rows: int, quick: bool, seed: int) -> Options:
    """Return the options as they were given."""
    options = Options(n_rows=rows, seed=seed)
    return replace(options, n_rows=max(10, rows // QUICK_SHARE)) if quick else options


def screen_for(as_json: bool) -> Screen:
    """Return what prints to standard output, or beside it where that is for programs."""
    return Screen(Console(stderr=as_json, width=None if Console().is_terminal else 120))


def print_figures(figures: Any, as_json: bool) -> None:
    """Print a dataclass of figures as one line of JSON, where that was asked for."""
    if as_json:
        click.echo(json.dumps(asdict(figures), ensure_ascii=False, sort_keys=True))


def share_of(values: Sequence[float]) -> Share:
    """Return the mean of one number from 0 to 1 per row; fewer than two rows leave everything open."""
    found = intervals({"share": mean_share(values)}, len(values)).get("share", Interval(0.0, 1.0))
    return Share(value=sum(values) / max(1, len(values)), low=found.low, high=found.high, n_rows=len(values))


def gain_of(values: Sequence[float], others: Sequence[float]) -> Gain:
    """Return how much the mean of `values` is above that of `others`, row by row the same rows, at least two."""
    found = differences({"share": mean_share(values)}, {"share": mean_share(others)}, len(values))["share"]
    return Gain(value=found.value, low=found.interval.low, high=found.interval.high)
