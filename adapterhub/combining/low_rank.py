"""A layer's change as two thin factors: norms, inner products and sums, without the layer's weight ever formed.

Everything is computed in float64, so that what cancels in a difference still has seven digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change B A of one weight, scaling folded into B."""

    a: Array  # [R, I] float64
    b: Array  # [O, R] float64

    @property
    def rank(self) -> int:
        """Columns of B; the product's own rank may be lower."""
        return int(self.a.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of the layer."""
        return int(self.b.shape[0]), int(self.a.shape[1])

    @property
    def norm(self) -> float:
        """The Frobenius norm of B A."""
        return float(np.sqrt(max(self.inner(self), 0.0)))

    def inner(self, other: "LowRank") -> float:
        """Return the sum of the elementwise products of two changes of one layer.

        tr((B1 A1)^T B2 A2) is the sum of the elements of (B1^T B2) * (A1 A2^T), two matrices of [R1, R2].
        """
        return float(((self.b.T @ other.b) * (self.a @ other.a.T)).sum())

    def times(self, weight: float) -> "LowRank":
        """Return the change times a number."""
        return LowRank(self.a, self.b * weight)

    def padded(self, rank: int) -> "LowRank":
        """Return the same change with rows and columns of zeros up to a rank."""
        more = rank - self.rank
        return LowRank(np.pad(self.a, ((0, more), (0, 0))), np.pad(self.b, ((0, 0), (0, more))))

    def rounded(self, dtype: str) -> "LowRank":
        """Return the change that a file with factors of this type gives back."""
        return LowRank(self.a.astype(dtype).astype(np.float64), self.b.astype(dtype).astype(np.float64))


Products = dict[str, LowRank]
"""Layer -> its change."""


def total(changes: Sequence[LowRank]) -> LowRank:
    """Return the sum of changes of one layer; its rank is the sum of theirs."""
    return LowRank(np.concatenate([change.a for change in changes]),
                   np.concatenate([change.b for change in changes], axis=1))


def difference_norm(first: LowRank, second: LowRank) -> float:
    """Return the Frobenius norm of what two changes of one layer differ by."""
    return total([first, second.times(-1.0)]).norm


def cosine(inner: float, first_norm: float, second_norm: float) -> float | None:
    """Return the cosine between two changes, None where one of them is zero."""
    if first_norm == 0.0 or second_norm == 0.0:
        return None
    return max(-1.0, min(1.0, inner / (first_norm * second_norm)))
