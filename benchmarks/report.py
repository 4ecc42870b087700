"""The frame of every benchmark: options, the table, the targets, and one line of JSON as the last line.

A benchmark says what it measures; how it is told, and when the run fails, is said here once.

    def measure(options: Options) -> list[Figure]: ...

    if __name__ == "__main__":
        run("registry", measure)
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adapterhub.costs.machine import describe_machine, versions

RESULTS = Path(__file__).parent / "results"
EXIT_MISSED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a benchmark was called."""

    is_quick: bool
    """Minutes instead of the full size; the targets stay."""
    is_checked: bool
    """Whether a missed target fails the run."""
    json_file: Path | None
    """Where the JSON is kept too."""
    seed: int = 0
    """Of everything that is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value, with its spread and its target."""

    name: str
    value: float
    unit: str
    spread: float | None = None
    """Half the distance between the quartiles, in the same unit; None where it was measured once."""
    n_runs: int = 1
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        is_low_enough = self.at_most is None or self.value <= self.at_most
        return is_low_enough and (self.at_least is None or self.value >= self.at_least)

    @property
    def target(self) -> str:
        """The target in words, empty where there is none."""
        return " and ".join(f"{word} {limit:g}" for word, limit in (("at most", self.at_most),
                                                                     ("at least", self.at_least)) if limit is not None)


def run(name: str, measure: Callable[[Options], Sequence[Figure]], arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and one line of JSON, and exit with 1 where a checked target was missed.

    A full run also keeps `results/<name>.json` and a picture of it beside the benchmarks.
    """
    options = parse_options(name, measure.__doc__ or "", arguments)
    started = time.perf_counter()
    figures = list(measure(options))
    result = {"benchmark": name, "quick": options.is_quick, "seed": options.seed,
              "seconds": round(time.perf_counter() - started, 1), "machine": describe_machine(), "versions": versions(),
              "figures": [{**asdict(figure), "is_met": figure.is_met} for figure in figures]}
    print_figures(name, figures)
    line = json.dumps(result, sort_keys=True)
    if options.json_file:
        options.json_file.write_text(line + "\n", encoding="utf-8")
    if not options.is_quick:
        keep_result(name, result, figures)
    missed = [figure.name for figure in figures if figure.is_met is False]
    if missed:
        print(f"Missed: {', '.join(missed)}.")
    print(line)
    if missed and options.is_checked:
        raise SystemExit(EXIT_MISSED)


def parse_options(name: str, what: str, arguments: Sequence[str] | None) -> Options:
    """Parse `--quick --check --json FILE`."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=what)
    parser.add_argument("--quick", action="store_true", help="a small size, in minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the JSON in this file too")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    given = parser.parse_args(arguments)
    return Options(is_quick=given.quick, is_checked=given.check, json_file=given.json, seed=given.seed)


def keep_result(name: str, result: dict[str, Any], figures: Sequence[Figure], place: Path = RESULTS) -> None:
    """Write a run's JSON, and its picture where matplotlib is installed, into a folder."""
    place.mkdir(exist_ok=True)
    (place / f"{name}.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if importlib.util.find_spec("matplotlib") is None:
        print("No picture: matplotlib is not installed.")
        return
    from benchmarks.plots import draw

    draw(f"{name} on {describe_machine()['processor']}", figures, place / f"{name}.png")


def timed(work: Callable[[], object], *, n_runs: int, n_warmups: int = 1) -> list[float]:
    """Return the seconds of each run, after the warm-ups."""
    for _ in range(n_warmups):
        work()
    seconds = []
    for _ in range(n_runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def median_figure(name: str, values: Sequence[float], unit: str, *, at_most: float | None = None,
                  at_least: float | None = None, note: str = "") -> Figure:
    """Return a figure of several measurements: their median and half the distance between their quartiles."""
    spread = None
    if len(values) > 1:
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        spread = (quartiles[2] - quartiles[0]) / 2
    return Figure(name=name, value=statistics.median(values), unit=unit, spread=spread, n_runs=len(values),
                  at_most=at_most, at_least=at_least, note=note)


def print_figures(name: str, figures: Sequence[Figure]) -> None:
    """Print the figures as a table."""
    table = Table(title=f"{name} on {describe_machine()['processor']}", title_justify="left")
    for column in ("what", "median", "spread", "unit", "target", "met", "note"):
        table.add_column(column, overflow="fold")
    for figure in figures:
        met = {True: "yes", False: "NO", None: ""}[figure.is_met]
        spread = "" if figure.spread is None else f"{figure.spread:.2g}"
        table.add_row(figure.name, f"{figure.value:.4g}", spread, figure.unit, figure.target, met, figure.note)
    Console(width=140).print(table)
