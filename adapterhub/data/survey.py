"""What must be known of all rows at once, in about 20 bytes each: the part, the text's hash, the label.

It holds no texts, so that rows which do not fit in memory can still be compared and divided.
"""

import hashlib
import json
import sys
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterhub.data.shingles import Shingles

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_ANSWER_FIELDS = ("label", "labels", "tags", "score", "answers", "completion", "references")
_PRECISE_FIELDS = ("label", "labels", "tags", "score")
"""Answers that exclude each other: two of them for one text cannot both be right."""


class Survey:
    """Rows as they were read, one after the other; all arrays below have one entry for each."""

    def __init__(self, *, label_field: str | None = None, shingles: Shingles | None = None) -> None:
        """Survey rows; `label_field` is the field whose values are kept in proportion by a split.

        The word pairs of what rows ask go to `shingles`, where near-duplicates will be looked for.
        """
        self.label_field, self.shingles = label_field, shingles
        self.label_names: list[str] = []
        """What `labels` counts, in the order in which they were met."""
        self._label_ids: dict[str, int] = {}
        self._parts, self._labels = array("b"), array("l")
        self._texts, self._wholes, self._answers = array("Q"), array("Q"), array("Q")
        self.has_precise_answers = False

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, row: Mapping[str, Any], part: int) -> None:
        """Take in the next row, which stands in the given part: 0 train, 1 validation, 2 test."""
        text = "\x1f".join(f"{name}\x1e{_plain(value)}" for name, value in row.items() if name not in _ANSWER_FIELDS)
        answer = {name: sorted(row[name]) if name == "labels" else row[name] for name in _ANSWER_FIELDS if name in row}
        self._texts.append(_hash(text))
        told = json.dumps(answer, sort_keys=True)
        self._wholes.append(_hash(f"{text}\x1d{told}"))
        if self.shingles is not None:
            self.shingles.add(value for name, value in row.items() if name not in _ANSWER_FIELDS)
            self._answers.append(_hash(told))
        self._parts.append(part)
        self.has_precise_answers |= any(name in answer for name in _PRECISE_FIELDS)
        if self.label_field is not None:
            label = row[self.label_field]
            if label not in self._label_ids:
                self._label_ids[label] = len(self.label_names)
                self.label_names.append(label)
            self._labels.append(self._label_ids[label])

    @property
    def parts(self) -> NDArray[np.int8]:
        """The part that each row was read from [N]."""
        return np.frombuffer(self._parts, dtype=np.int8) if self._parts else np.empty(0, dtype=np.int8)

    @property
    def labels(self) -> Numbers | None:
        """Each row's place in `label_names` [N]; None without a label field."""
        return None if self.label_field is None else np.array(self._labels, dtype=np.int64)

    @property
    def texts(self) -> Hashes:
        """Hash of what each row asks [N], white space and case left out."""
        return np.array(self._texts, dtype=np.uint64)

    @property
    def answers(self) -> Hashes:
        """Hash of each row's answer [N]; empty without shingles."""
        return np.array(self._answers, dtype=np.uint64)

    @property
    def wholes(self) -> Hashes:
        """Hash of each row with its answer [N]."""
        return np.array(self._wholes, dtype=np.uint64)


def _plain(value: Any) -> str:
    """Return a value as one text that does not tell white space or case apart."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return " ".join(text.casefold().split())


def _hash(text: str) -> int:
    """Return 64 bits: among ten million texts two different ones meet with a probability of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), sys.byteorder)
