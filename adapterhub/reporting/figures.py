"""Metrics as functions of how often each row counts, so that thousands of resamples cost a matrix product.

Each equals what the tasks' own `evaluate` gives for the rows repeated that often; it knows no task.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Figure(Protocol):
    """One metric over N rows."""

    @property
    def is_share(self) -> bool:
        """Whether it is a share of what was asked: 0 where nothing is right, 1 where everything is."""

    def over(self, counts: Numbers) -> Numbers:
        """Return the metric [R] for counts [R, N]: how often each row stands in each of R resamples."""


@dataclass(frozen=True, slots=True, eq=False)
class SumFigure:
    """A metric that needs only sums over rows."""

    parts: Any
    """[N, K], dense or a scipy.sparse array: what each row adds."""
    value: Callable[[Numbers], Numbers]
    """From sums [R, K] to the metric [R]."""
    is_share: bool = False

    def over(self, counts: Numbers) -> Numbers:
        """Return the metric for each line of counts."""
        return self.value(np.asarray(counts @ self.parts))


def share(numerators: Sequence[float] | Numbers, denominators: Sequence[float] | Numbers) -> SumFigure:
    """Return the sum of one number per row by the sum of another that is at least as large; 0 where that is 0."""
    return SumFigure(_columns(numerators, denominators), lambda sums: _divide(sums[:, 0], sums[:, 1]), is_share=True)


def mean_share(values: Sequence[float] | Numbers) -> SumFigure:
    """Return the mean of one number from 0 to 1 per row."""
    return share(values, np.ones(len(values)))


def f1(right: Sequence[float] | Numbers, found: Sequence[float] | Numbers,
       true: Sequence[float] | Numbers) -> SumFigure:
    """Return the F1 over all rows' decisions: how many were right, found, and to be found in each row."""
    return SumFigure(_columns(right, found, true), lambda sums: _divide(2 * sums[:, 0], sums[:, 1] + sums[:, 2]),
                     is_share=True)


def macro_f1(truth: Any, found: Any) -> SumFigure:
    """Return the mean F1 over the classes that occur; both are one-hot [N, L], dense or sparse."""
    from scipy import sparse

    truth, found = sparse.csr_array(truth, dtype=float), sparse.csr_array(found, dtype=float)
    n_labels = truth.shape[1]

    def value(sums: Numbers) -> Numbers:
        right, n_true, n_found = (sums[:, i * n_labels:(i + 1) * n_labels] for i in range(3))
        occurs = n_true > 0
        scores = np.where(occurs, _divide(2 * right, n_true + n_found), 0.0)
        return _divide(scores.sum(axis=1), occurs.sum(axis=1).astype(float))

    return SumFigure(sparse.csr_array(sparse.hstack([truth.multiply(found), truth, found])), value, is_share=True)


def one_hot(classes: Sequence[int], n_labels: int) -> Any:
    """Return a sparse [N, L] with a one at each row's class."""
    from scipy import sparse

    places = (np.arange(len(classes)), np.asarray(classes, dtype=int))
    return sparse.csr_array((np.ones(len(classes)), places), shape=(len(classes), n_labels))


def number_figures(predicted: Numbers, truth: Numbers) -> dict[str, Figure]:
    """Return spearman, pearson, r2, rmse and mae of predicted numbers [N]."""
    centred, right = predicted - predicted.mean(), truth - truth.mean()  # sums of squares then keep their digits
    errors, ones = predicted - truth, np.ones(len(truth))
    return {
        "spearman": RankFigure(predicted, truth),
        "pearson": SumFigure(_columns(centred, right, centred**2, right**2, centred * right, ones), _pearson),
        "r2": SumFigure(_columns(errors**2, right, right**2, ones),
                        lambda sums: 1 - _divide(sums[:, 0], sums[:, 2] - sums[:, 1] ** 2 / sums[:, 3])),
        "rmse": SumFigure(_columns(errors**2, ones), lambda sums: np.sqrt(sums[:, 0] / sums[:, 1])),
        "mae": SumFigure(_columns(np.abs(errors), ones), lambda sums: sums[:, 0] / sums[:, 1])}


@dataclass(frozen=True, slots=True, eq=False)
class RankFigure:
    """Spearman's correlation: ranks are taken anew in each resample, equal values share their mean rank."""

    predicted: Numbers
    truth: Numbers
    is_share: bool = False

    def over(self, counts: Numbers) -> Numbers:
        """Return the metric for each line of counts."""
        n_rows = counts.sum(axis=1)
        first, second = (_mean_ranks(values, counts) for values in (self.predicted, self.truth))
        first, second = (ranks - (n_rows[:, None] + 1) / 2 for ranks in (first, second))
        products = [(counts * a * b).sum(axis=1) for a, b in ((first, second), (first, first), (second, second))]
        return _divide(products[0], np.sqrt(products[1] * products[2]))


def _mean_ranks(values: Numbers, counts: Numbers) -> Numbers:
    """Return each row's rank [R, N] among the rows of each resample."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    n_equal = np.add.reduceat(counts[:, order], starts, axis=1)  # [R, groups]
    ranks: Numbers = (np.cumsum(n_equal, axis=1) - n_equal + (n_equal + 1) / 2)[:, group]
    return ranks


def _pearson(sums: Numbers) -> Numbers:
    x, y, xx, yy, xy, n = sums.T
    return _divide(xy - x * y / n, np.sqrt(np.maximum(xx - x**2 / n, 0) * np.maximum(yy - y**2 / n, 0)))


def _columns(*columns: Sequence[float] | Numbers) -> Numbers:
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)


def _divide(numerator: Numbers, denominator: Numbers) -> Numbers:
    """Divide, with 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
