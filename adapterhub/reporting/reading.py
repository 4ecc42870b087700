"""One model's outputs read row by row: figures that can be resampled, and what was right, answered and how certain."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adapterhub.reporting.figures import Figure, Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRow:
    """One row beside its answer."""

    text: str
    right: str
    answered: str
    is_right: bool
    note: str
    """How certain the answer was, or how far off."""
    weight: float
    """Orders wrong rows: the most certainly wrong, or the furthest off, has the most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certainty:
    """How sure M decisions were, and which were right: of rows, of words, of labels."""

    row: NDArray[np.int64]  # [M] which row a decision belongs to
    confidence: Numbers  # [M] 0 to 1
    is_right: Numbers  # [M] 0 or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Decisions among classes that exclude each other, as places in the labels."""

    labels: Sequence[str]
    truth: Sequence[int]
    answered: Sequence[int]


@dataclass(frozen=True, slots=True)
class Span:
    """One entity: its type, and its first and last word."""

    kind: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a task's reader finds."""

    figures: dict[str, Figure]
    """By the names that the task's `evaluate` uses."""
    rows: list[JudgedRow]
    certainty: Certainty | None = None
    choices: Choices | None = None
    spans: list[tuple[list[Span], list[Span]]] = field(default_factory=list)
    """Right and answered entities of each row."""
    has_right_rows: bool = True
    """Whether a row is right or wrong, rather than nearer or further off."""
