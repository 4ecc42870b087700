"""Rows that say nearly the same: candidates by MinHash and LSH, through datasketch, then compared pair by pair.

It sees hashed word pairs, never the rows. Source: Broder 1997, On the resemblance and containment of documents.
"""

from array import array
from typing import TYPE_CHECKING

import numpy as np

from adapterhub.data.duplicates import Mask, Parts
from adapterhub.data.shingles import Shingles
from adapterhub.data.split import PARTS
from adapterhub.data.survey import Hashes, Numbers
from adapterhub.extras import require_extra

if TYPE_CHECKING:
    from datasketch import MinHash

EXTRA = "duplicates"
_PERMUTATIONS = 128
_SLACK = 0.05
"""How far below the asked likeness candidates are sought, as LSH misses some of those just at it. Computed: of pairs
as like as asked, at 0.9 1.6 % are missed rather than 19 %, at 0.8 5 % rather than 13 %."""
_MOST_COMPARED = 100
"""Candidates that a row is compared with, so that ten thousand rows of one pattern take no hours."""


def shingles_for(least: float | None) -> Shingles | None:
    """Return where the word pairs of rows go that will be compared; None where they will not be.

    Raises InvalidConfig without the extra.
    """
    if least is None:
        return None
    require_extra(EXTRA, ["datasketch"])
    return Shingles()


def find_near_repeats(parts: Parts, shingles: Shingles, answers: Hashes, *, least: float, apart: Mask) -> Numbers:
    """Return the earlier row of its part that each row [N] nearly says again, answer included; -1 for none.

    Likeness is the share of word pairs that both have, at least `least`. Of a chain of rows each like the one before,
    those that are like one which stays are told. Rows `apart` [N] are not looked at.
    """
    like = np.full(len(parts), -1, dtype=np.int64)
    for part in range(len(PARTS)):
        index = _Index(shingles, least)
        for row in np.flatnonzero((parts == part) & ~apart).tolist():
            like[row] = index.find(row, answers)
            if like[row] < 0:
                index.add(row)
    return like


def find_near_shared(parts: Parts, shingles: Shingles, *, least: float, apart: Mask) -> Numbers:
    """Return the row of validation or test that each of train is nearly like, of validation that of test; -1 for none.

    As `find_near_repeats`, whatever the answers.
    """
    like = np.full(len(parts), -1, dtype=np.int64)
    index = _Index(shingles, least)
    for part in reversed(range(len(PARTS))):
        rows = np.flatnonzero(parts == part).tolist()
        for row in rows:
            if part < len(PARTS) - 1 and not apart[row]:
                like[row] = index.find(row)
        if part:
            for row in rows:
                index.add(row)
    return like


class _Index:
    """Rows among which those like another are found."""

    def __init__(self, shingles: Shingles, least: float) -> None:
        from datasketch import MinHash, MinHashLSH  # of an extra

        self._shingles, self._least = shingles, least
        self._empty = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=_as_it_is)
        self._index = MinHashLSH(threshold=least - _SLACK, num_perm=_PERMUTATIONS, weights=(0.1, 0.9))

    def add(self, row: int) -> None:
        """Take a row in; one without words is like none."""
        if pairs := self._shingles[row]:
            self._index.insert(row, self._sketch(pairs), check_duplication=False)

    def find(self, row: int, answers: Hashes | None = None) -> int:
        """Return the first row taken in that is like `row`, and where they are given has its answer; -1 for none."""
        if not (pairs := self._shingles[row]):
            return -1
        candidates = [other for other in sorted(self._index.query(self._sketch(pairs)))
                      if answers is None or answers[other] == answers[row]]
        likely = (other for other in candidates[:_MOST_COMPARED] if self._shingles.likeness(row, other) >= self._least)
        return next(likely, -1)

    def _sketch(self, pairs: "array[int]") -> "MinHash":
        sketch = self._empty.copy()
        sketch.update_batch(pairs)
        return sketch


def _as_it_is(value: int) -> int:
    return value
