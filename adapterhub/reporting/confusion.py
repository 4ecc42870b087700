"""Which labels are taken for which: the matrix by scikit-learn, and its largest mistakes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterhub.reporting.reading import Choices

N_PAIRS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusedPair:
    """One mistake and how often it was made."""

    right: str
    answered: str
    n_rows: int
    share: float
    """Of all rows with the right label."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confusion:
    """Rows by right label and by answered label."""

    labels: list[str]
    counts: NDArray[np.int64]  # [L, L] of (right, answered)

    @property
    def pairs(self) -> list[ConfusedPair]:
        """The most frequent mistakes, the most frequent first."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:N_PAIRS]
        places = [(int(i) // len(self.labels), int(i) % len(self.labels)) for i in order]
        return [ConfusedPair(right=self.labels[t], answered=self.labels[a], n_rows=int(wrong[t, a]),
                             share=float(wrong[t, a] / max(1, self.counts[t].sum())))
                for t, a in places if wrong[t, a]]


def confusion_of(choices: Choices) -> Confusion:
    """Return the matrix over the labels that occur, as the right one or as an answer."""
    from sklearn.metrics import confusion_matrix

    found: Any = confusion_matrix(choices.truth, choices.answered, labels=range(len(choices.labels)))
    occurs: list[int] = np.flatnonzero(found.sum(axis=0) + found.sum(axis=1)).tolist()
    return Confusion(labels=[choices.labels[i] for i in occurs], counts=found[np.ix_(occurs, occurs)])
