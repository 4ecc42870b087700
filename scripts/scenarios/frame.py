"""The frame of every scenario: its command, what it prints to, and shares with how sure they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import click
from rich.console import Console

from adapterhub.cli.output import guarded, json_option, print_json
from adapterhub.demo.show import Screen
from adapterhub.reporting.figures import mean_share
from adapterhub.reporting.intervals import Interval, differences, intervals
from adapterhub.settings import Settings

P = ParamSpec("P")
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


def scenario(example: str, *, n_rows: int) -> Callable[[Callable[Concatenate[Options, Settings, Screen, P], Any]],
                                                       click.Command]:
    """Make a command of what measures figures: `--rows`, `--quick`, `--seed` and `--json`, then options of its own.

    It is called with the options, the environment's settings and a screen that it prints to, and returns a dataclass,
    which is printed here where JSON was asked for. Without `--rows` and `--quick`, `n_rows` test rows are taken.
    """
    def make(measure: Callable[Concatenate[Options, Settings, Screen, P], Any]) -> click.Command:
        @_frame_options(n_rows)
        @guarded
        @wraps(measure)
        def main(rows: int, quick: bool, seed: int, as_json: bool, *args: P.args, **kwargs: P.kwargs) -> None:
            options = Options(n_rows=max(10, rows // QUICK_SHARE) if quick else rows, seed=seed)
            figures = measure(options, Settings.from_environment(), _screen(beside=as_json), *args, **kwargs)
            if as_json:
                print_json(asdict(figures))
        return click.command(epilog=f"Example: python -m scripts.scenarios.{example}")(main)
    return make


def say_shares(shares: Mapping[str, Share], screen: Screen) -> None:
    """Print each share under its name."""
    for name, share in shares.items():
        screen.say(f"{name}: {share}")


def share_of(values: Sequence[float]) -> Share:
    """Return the mean of one number from 0 to 1 per row; fewer than two rows leave everything open."""
    found = intervals({"share": mean_share(values)}, len(values)).get("share", Interval(0.0, 1.0))
    return Share(value=sum(values) / max(1, len(values)), low=found.low, high=found.high, n_rows=len(values))


def gain_of(values: Sequence[float], others: Sequence[float]) -> Gain:
    """Return how much the mean of `values` is above that of `others`, row by row the same rows, at least two."""
    found = differences({"share": mean_share(values)}, {"share": mean_share(others)}, len(values))["share"]
    return Gain(value=found.value, low=found.interval.low, high=found.interval.high)


def _frame_options(n_rows: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(command: Callable[..., None]) -> Callable[..., None]:
        rows = click.option("--rows", type=click.IntRange(min=10), default=n_rows, show_default=True,
                            help="Test rows, and as many validation rows.")
        quick = click.option("--quick", is_flag=True, help=f"Only one row of {QUICK_SHARE}.")
        seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all drawing.")
        return rows(quick(seed(json_option(command))))
    return add


def _screen(*, beside: bool) -> Screen:
    """Return what prints to standard output, or beside it where that is for programs."""
    return Screen(Console(stderr=beside, width=None if Console().is_terminal else 120))
