"""How far figures may be off, by resampling the rows with scipy's bootstrap, seeded. It knows no task."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapterhub.reporting.figures import Figure, Numbers

N_RESAMPLES = 2000
"""Fifty of them lie beyond each end of a 95 % interval."""
LEVEL = 0.95
SEED = 0
_CELLS = 4_000_000
"""Counts [resamples, rows] that are held at once: 32 MB."""


class Interval(NamedTuple):
    """Where a figure lies with 95 % confidence."""

    low: float
    high: float

    @property
    def spans_zero(self) -> bool:
        """Whether zero is in it."""
        return self.low <= 0 <= self.high


class Difference(NamedTuple):
    """How much one adapter's figure is above another's on the same rows."""

    value: float
    interval: Interval
    p_value: float
    """Two-sided: how often resamples point the other way, twice; at least one in the number of resamples."""


def intervals(figures: Mapping[str, Figure], n_rows: int, *, seed: int = SEED) -> dict[str, Interval]:
    """Return each figure's 95 % percentile interval; none where fewer than two rows were measured.

    A share that is 0 or 1 in every resample (each row is right, or wrong) shows resampling no doubt; there it is
    Wilson's interval for none or all of so many rows. Source: Efron and Tibshirani 1993, chapter 13; Wilson 1927.
    """
    if n_rows < 2 or not figures:
        return {}
    samples = _resample(lambda counts: np.stack([figure.over(counts) for figure in figures.values()]), n_rows, seed)
    return {name: _share_of(own, n_rows) if figure.is_share else _quantiles(own)
            for (name, figure), own in zip(figures.items(), samples, strict=True)}


def differences(first: Mapping[str, Figure], second: Mapping[str, Figure], n_rows: int, *,
                seed: int = SEED) -> dict[str, Difference]:
    """Return how much the first's shared figures are above the second's, both resampled with the same rows.

    Source: Koehn 2004 (paired bootstrap resampling), aclanthology.org/W04-3250, §3.4.
    """
    shared = [name for name in first if name in second]
    if n_rows < 2 or not shared:
        return {}

    def below(counts: Numbers) -> Numbers:
        return np.stack([first[name].over(counts) - second[name].over(counts) for name in shared])

    values = below(np.ones((1, n_rows)))[:, 0]
    samples = _resample(below, n_rows, seed)
    return {name: Difference(float(value), _quantiles(own), _p_value(own))
            for name, value, own in zip(shared, values, samples, strict=True)}


def _resample(statistic: Callable[[Numbers], Numbers], n_rows: int, seed: int) -> Numbers:
    """Return the statistic [M, R] of many resamples of the rows."""
    from scipy.stats import bootstrap  # a second: not where nothing is measured

    def of_indices(indices: NDArray[np.int64], axis: int = -1) -> Numbers:
        return statistic(_counts(np.atleast_2d(indices), n_rows))

    found = bootstrap((np.arange(n_rows),), of_indices, n_resamples=N_RESAMPLES, batch=max(1, _CELLS // n_rows),
                      vectorized=True, method="percentile", confidence_level=LEVEL, rng=np.random.default_rng(seed))
    samples: Numbers = found.bootstrap_distribution
    return samples


def _counts(indices: NDArray[np.int64], n_rows: int) -> Numbers:
    """Return how often each row was drawn [R, N], from the rows drawn [R, N]."""
    places = indices + n_rows * np.arange(len(indices))[:, None]
    return np.bincount(places.ravel(), minlength=indices.size).reshape(indices.shape).astype(float)


def _share_of(samples: Numbers, n_rows: int) -> Interval:
    interval = _quantiles(samples)
    if interval not in (Interval(0.0, 0.0), Interval(1.0, 1.0)):
        return interval
    from scipy.stats import binomtest

    share = binomtest(n_rows * round(interval.low), n_rows).proportion_ci(LEVEL, method="wilson")
    return Interval(float(share.low), float(share.high))


def _quantiles(samples: Numbers) -> Interval:
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _p_value(samples: Numbers) -> float:
    rarer = min(float((samples <= 0).mean()), float((samples >= 0).mean()))
    return min(1.0, max(2 * rarer, 1 / len(samples)))
