"""Is a model as often right as it is sure? Reliability by bins, and the expected calibration error.

Source: Guo et al. 2017, arXiv 1706.04599, §2: bins of equal width, each weighted by its decisions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapterhub.reporting.figures import Numbers, SumFigure
from adapterhub.reporting.reading import Certainty

N_BINS = 15
ERROR = "ece"
"""The metric's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """The decisions whose confidence lies above `low`, up to `high`."""

    low: float
    high: float
    n_decisions: int
    confidence: float
    """Mean."""
    right: float
    """Share that was right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How confidence and truth agree."""

    error: float
    """Expected calibration error, 0 to 1."""
    n_decisions: int
    bins: list[ReliabilityBin]
    """Only those that hold a decision."""

    @property
    def leaning(self) -> str:
        """Whether it is sure too often, too seldom, or neither: mean confidence against the share right."""
        gap = sum(b.n_decisions * (b.confidence - b.right) for b in self.bins) / self.n_decisions
        return "neither too sure nor too unsure" if abs(gap) < 0.01 else "too sure" if gap > 0 else "too unsure"


def calibration_of(certainty: Certainty) -> Calibration | None:
    """Return reliability by bins; None where there is no decision."""
    n_decisions = len(certainty.confidence)
    if not n_decisions:
        return None
    sums = _sums(certainty, np.zeros(n_decisions, dtype=int), n_rows=1)[0]
    counts, confidences, rights = sums.reshape(3, N_BINS)
    bins = [ReliabilityBin(low=i / N_BINS, high=(i + 1) / N_BINS, n_decisions=int(count), confidence=sure / count,
                           right=right / count)
            for i, (count, sure, right) in enumerate(zip(counts, confidences, rights, strict=True)) if count]
    return Calibration(error=float(_error(sums[None])[0]), n_decisions=n_decisions, bins=bins)


def calibration_figure(certainty: Certainty, n_rows: int) -> SumFigure:
    """Return the expected calibration error as a figure over rows, whose decisions stay together."""
    return SumFigure(_sums(certainty, certainty.row, n_rows), _error)


def _sums(certainty: Certainty, row: Any, n_rows: int) -> Numbers:
    """Return decisions, confidence and right ones per row and bin [N, 3 * bins]."""
    places = np.clip(np.ceil(certainty.confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    sums = np.zeros((n_rows, 3, N_BINS))
    for part, values in enumerate((np.ones(len(places)), certainty.confidence, certainty.is_right)):
        np.add.at(sums, (row, part, places), values)
    return sums.reshape(n_rows, 3 * N_BINS)


def _error(sums: Numbers) -> Numbers:
    counts, confidences, rights = np.split(sums, 3, axis=1)
    error: Numbers = np.abs(confidences - rights).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    return error
