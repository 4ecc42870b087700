"""Results of several seeds as one line for each arm: means with intervals, and ratios to full fine-tuning."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterhub.costs.arms import ARMS
from adapterhub.costs.figures import MemoryParts
from adapterhub.costs.results import Result, of_task

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over seeds."""

    value: float
    half_width: float | None
    """Of the 95 % interval by Student's t; None for one seed."""
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f}" if self.half_width is None else f"{self.value:.3f} ± {self.half_width:.3f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm on one task."""

    arm: str
    title: str
    seeds: tuple[int, ...]
    learning_rate: float
    metric: str
    quality: Mean
    trained_parameters: int
    total_parameters: int
    disk_bytes: int
    checkpoint_bytes: int
    peak_memory_bytes: int
    """Least over seeds: what else a process holds only adds."""
    write_memory_bytes: int
    step_seconds: float
    """Median over seeds, in seconds of processors, as all times here: those of clocks are of who else computes."""
    train_seconds: float
    """The same, of all steps and what is run ahead of them, by the clock."""
    best_seconds: float | None
    """Median seconds to the epoch with the best validation value; None without one."""
    near_seconds: float | None
    """Median seconds until the validation metric was first within 0.5 points of full fine-tuning's best; None where it
    never was, or where full was not run."""
    energy_joules: float | None
    energy_counter: str
    parts: MemoryParts | None
    curves: tuple[tuple[tuple[float, float], ...], ...]
    """For each seed, seconds and the validation metric after each epoch."""
    n_test_rows: int = 0
    processor: str = ""
    """On which memory and times were measured; quality is of all seeds, wherever they ran."""


NEAR = 0.005


def summarise(results: Sequence[Result], task: str) -> list[ArmSummary]:
    """Return a line for each arm of a task, in the arms' own order; what is no arm of the table comes last."""
    arms = of_task(results, task)
    full = arms.get("full", [])
    target = statistics.fmean(max(_values(result), default=0.0) for result in full) - NEAR if full else None
    order = {name: place for place, name in enumerate(ARMS)}
    alike = _measured_alike(arms)
    return [_summary(name, arms[name], alike[name], target)
            for name in sorted(arms, key=lambda name: order.get(name, len(order)))]


def _measured_alike(arms: Mapping[str, Sequence[Result]]) -> dict[str, list[Result]]:
    """Return each arm's results on the processor that most arms were run on, else all that it has.

    A comparison that was stopped may go on elsewhere; times of two kinds of processor give no ratio.
    """
    n_arms = Counter(name for results in arms.values() for name in {_processor(result) for result in results})
    n_results = Counter(_processor(result) for results in arms.values() for result in results)
    chosen = max(n_arms, key=lambda name: (n_arms[name], n_results[name], name))
    return {name: [result for result in results if _processor(result) == chosen] or list(results)
            for name, results in arms.items()}


def _processor(result: Result) -> str:
    return str(result.machine.get("processor", ""))


def mean_of(values: Sequence[float]) -> Mean:
    """Return a mean with its interval."""
    if len(values) < 2:
        return Mean(value=values[0], half_width=None, n=1)
    from scipy.stats import t  # half a second: not where one seed was run

    width = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Mean(value=statistics.fmean(values), half_width=width, n=len(values))


def _summary(name: str, results: Sequence[Result], alike: Sequence[Result], target: float | None) -> ArmSummary:
    """Return one line: quality from `results`, memory and times from those measured `alike`."""
    figures, first = [result.figures for result in alike], results[0].figures
    metric = next(iter(first.metrics), "")
    near = [_seconds_to(result, target) for result in alike] if target is not None else []
    best = [found for result in alike if (found := _seconds_to(result, max(_values(result), default=math.inf)))]
    joules = [one.energy_joules for one in figures if one.energy_joules is not None]
    return ArmSummary(
        arm=name, title=ARMS[name].title if name in ARMS else name,
        seeds=tuple(result.figures.seed for result in results), processor=_processor(alike[0]),
        learning_rate=first.learning_rate, metric=metric,
        quality=mean_of([result.figures.metrics[metric] for result in results]),
        trained_parameters=first.trained_parameters, total_parameters=first.total_parameters,
        disk_bytes=first.disk_bytes, checkpoint_bytes=first.parts.checkpoint if first.parts else 0,
        peak_memory_bytes=min(one.peak_memory_bytes for one in figures),
        write_memory_bytes=min(one.write_memory_bytes for one in figures),
        step_seconds=statistics.median(one.step_processor_seconds for one in figures),
        train_seconds=statistics.median(one.train_seconds for one in figures),
        best_seconds=statistics.median(best) if best else None,
        near_seconds=statistics.median(one for one in near if one is not None) if near and None not in near else None,
        energy_joules=statistics.fmean(joules) if joules else None, energy_counter=first.energy_counter,
        parts=first.parts, n_test_rows=first.n_test_rows,
        curves=tuple(tuple((point.processor_seconds, point.metrics[metric]) for point in one.curve
                                              if metric in point.metrics) for one in figures))


def _values(result: Result) -> list[float]:
    metric = next(iter(result.figures.metrics), "")
    return [point.metrics[metric] for point in result.figures.curve if metric in point.metrics]


def _seconds_to(result: Result, value: float) -> float | None:
    return result.figures.seconds_to(next(iter(result.figures.metrics), ""), value)
