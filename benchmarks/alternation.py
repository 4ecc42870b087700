"""Contenders in turn, round after round, so that whatever else the machine does meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.report import Figure, median_figure

Seconds = dict[str, list[float]]
"""Contender -> seconds of each round."""


def alternate(contenders: Mapping[str, Callable[[], object]], *, n_rounds: int, n_warmups: int = 1,
              clock: Callable[[], float] = time.perf_counter) -> Seconds:
    """Return each contender's seconds in each round, after the warm-ups; who begins changes from round to round.

    `clock`: `time.process_time` where one thread computes all, so that what other programs take is not counted.
    """
    names = list(contenders)
    seconds: Seconds = {name: [] for name in names}
    for i in range(-n_warmups, n_rounds):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            started = clock()
            contenders[name]()
            if i >= 0:
                seconds[name].append(clock() - started)
    return seconds


def ratio_figure(name: str, values: Sequence[float], over: Sequence[float], *, at_most: float | None = None,
                 at_least: float | None = None, note: str = "") -> Figure:
    """Return the median, over rounds, of one contender's value over another's of the same round."""
    ratios = [value / other for value, other in zip(values, over, strict=True)]
    return median_figure(name, ratios, "x", at_most=at_most, at_least=at_least, note=note)


def undisturbed(seconds: Sequence[float]) -> float:
    """Return the tenth percentile: other programs only lengthen work of a few milliseconds, and not all of it."""
    return statistics.quantiles(seconds, n=10, method="inclusive")[0]
