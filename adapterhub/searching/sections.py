"""From a study's trials to the sections of a report: a table, the way to the best, each setting by the metric."""

from collections.abc import Sequence
from typing import Any

from adapterhub.reporting.pictures import BLUE, GREY, ORANGE, draw
from adapterhub.reporting.section import Picture, Section, figure
from adapterhub.searching.search import SearchResult
from adapterhub.searching.study import TrialFacts

_FEWEST = 4
"""Trials from which on a picture of one setting says anything."""


def trials_section(trials: Sequence[TrialFacts], metric: str, best: int | None = None) -> Section:
    """Return the table of trials, as a terminal shows it while they run and a page afterwards."""
    names = sorted({name for trial in trials for name in trial.params})
    lines = [(f"{trial.number}{' (best)' if trial.number == best else ''}", trial.state, _value(trial), _epoch(trial),
              *(_setting(trial.params.get(name)) for name in names),
              "" if trial.seconds is None else f"{trial.seconds:.0f}") for trial in trials]
    return Section(title="Trials", header=("trial", "state", metric, "epoch", *names, "seconds"), lines=lines,
                   note=f"{metric} on the validation rows; a pruned trial's is that of its last epoch.")


def search_sections(result: SearchResult) -> list[Section]:
    """Return a report on a search."""
    ended = [trial for trial in result.trials if trial.state == "complete"]
    names = sorted({name for trial in ended for name in trial.params})
    pictures = [_against(ended, name, result.metric) for name in names] if len(ended) >= _FEWEST else []
    table = trials_section(result.trials, result.metric, result.best.number)
    return [Section(title=f"Trial {result.best.number} is the best: {result.metric} {_value(result.best)}",
                    header=("setting", "value"),
                    lines=[(name, _setting(value)) for name, value in sorted(result.best.params.items())]
                    + [("epochs", str(result.best.best_epoch))],
                    picture=_way(result, ended)), table,
            *(Section(title=f"{name} and {result.metric}", picture=picture)
              for name, picture in zip(names, pictures, strict=False) if picture)]


def _way(result: SearchResult, ended: Sequence[TrialFacts]) -> Picture | None:
    """Draw every trial's value, and the best so far."""
    def paint(axes: Any) -> None:
        numbers, values = [trial.number for trial in ended], [trial.value or 0.0 for trial in ended]
        choose = min if result.is_lower_better else max
        axes.plot(numbers, [choose(values[:i + 1]) for i in range(len(values))], color=ORANGE, drawstyle="steps-post")
        axes.plot(numbers, values, color=BLUE, marker="o", linestyle="none")
        pruned = [(trial.number, trial.value) for trial in result.trials
                  if trial.state == "pruned" and trial.value is not None]
        if pruned:
            axes.plot(*zip(*pruned, strict=True), color=GREY, marker="x", linestyle="none")
        axes.set(xlabel="trial", ylabel=result.metric)

    return draw(f"{result.metric} of every trial; the line is the best so far, crosses were pruned", (6.0, 3.4), paint)


def _against(ended: Sequence[TrialFacts], name: str, metric: str) -> Picture | None:
    """Draw one setting of every trial that ended against its value."""
    points = [(trial.params[name], trial.value or 0.0) for trial in ended if name in trial.params]
    numbers = [value for value, _ in points if isinstance(value, (int, float))]
    is_wide = bool(numbers) and min(numbers) > 0 and max(numbers) >= 10 * min(numbers)

    def paint(axes: Any) -> None:
        values = numbers if len(numbers) == len(points) else [str(value)[:40] for value, _ in points]
        axes.plot(values, [found for _, found in points], color=BLUE, marker="o", linestyle="none")
        if is_wide:
            axes.set_xscale("log")
        axes.set(xlabel=name, ylabel=metric)

    return draw(f"{metric} by {name}", (5.0, 3.0), paint)


def _value(trial: TrialFacts) -> str:
    value = trial.value if trial.value is not None else list(trial.values.values())[-1] if trial.values else None
    return "" if value is None else figure(value)


def _epoch(trial: TrialFacts) -> str:
    return str(trial.best_epoch or max(trial.values, default=""))


def _setting(value: object) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
