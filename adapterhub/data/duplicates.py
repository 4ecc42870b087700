"""Rows that say the same: inside a part, across parts, and with answers that contradict each other.

Two texts are the same where they differ in white space and case alone. It sees hashes, never the rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapterhub.data.split import PARTS
from adapterhub.data.survey import Hashes, Numbers

Parts = NDArray[np.int8]
"""The part of each row [N], a place in PARTS; REMOVED for none."""
Mask = NDArray[np.bool_]
REMOVED = -1


def find_repeats(parts: Parts, wholes: Hashes) -> Mask:
    """Return which rows [N] an earlier row of their part says already, answer included."""
    repeats = np.zeros(len(parts), dtype=bool)
    for part in range(len(PARTS)):
        rows = np.flatnonzero(parts == part)
        _, first = np.unique(wholes[rows], return_index=True)
        repeats[rows] = True
        repeats[rows[first]] = False
    return repeats


def find_shared(parts: Parts, texts: Hashes) -> Mask:
    """Return which rows [N] of train stand in validation or test too, and which of validation in test.

    The answer does not count: a model that was told any answer to a text has seen that text.
    """
    shared = np.zeros(len(parts), dtype=bool)
    for part in range(len(PARTS) - 1):
        shared |= (parts == part) & np.isin(texts, texts[parts > part])
    return shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """Texts that stand with several answers."""

    n_texts: int
    rows: list[Numbers]
    """The rows of the first of these texts, by their place in the source; at most as many as were asked for."""


def find_conflicts(texts: Hashes, wholes: Hashes, *, n_shown: int) -> Conflicts:
    """Return the texts that have more than one answer, in the order in which they first stand."""
    _, first = np.unique(wholes, return_index=True)  # one row for each text with each of its answers
    found, counts = np.unique(texts[first], return_counts=True)
    contested = found[counts > 1]
    places = np.flatnonzero(np.isin(texts, contested))
    _, order = np.unique(texts[places], return_index=True)
    shown = texts[places[np.sort(order)[:n_shown]]]
    return Conflicts(n_texts=len(contested), rows=[np.flatnonzero(texts == text) for text in shown])
