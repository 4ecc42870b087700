"""Texts as sets of hashed word pairs, 4 bytes for each: how much of two texts is the same. It holds no texts."""

import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import pairwise
from typing import Any

_WORD = re.compile(r"\w+")


class Shingles:
    """The word pairs of rows, taken in one after the other; a text of one word has that word."""

    def __init__(self) -> None:
        self._hashes, self._ends = array("I"), array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> "array[int]":
        """Return a row's hashed pairs, each once, in no order; empty where it has no word."""
        return self._hashes[self._ends[row]:self._ends[row + 1]]

    def add(self, fields: Iterable[Any]) -> None:
        """Take in the next row by the values of the fields that ask; pairs of one field are none of another."""
        found = {_hash(f"{place} {first} {second}") for place, value in enumerate(fields)
                 for first, second in _pairs(list(_words(value)))}
        self._hashes.extend(found)
        self._ends.append(len(self._hashes))

    def likeness(self, row: int, other: int) -> float:
        """Return the share of two rows' pairs that both have, 0 to 1 (Jaccard)."""
        one, two = set(self[row]), set(self[other])
        return len(one & two) / max(1, len(one | two))


def _words(value: Any) -> Iterator[str]:
    """Yield the words of a text, or of all texts within a value, without case and punctuation."""
    if isinstance(value, str):
        yield from _WORD.findall(value.casefold())
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, Iterable):
        for inner in value:
            yield from _words(inner)
    elif value is not None:
        yield str(value)


def _pairs(words: list[str]) -> Iterable[tuple[str, str]]:
    return pairwise(words) if len(words) > 1 else [(word, "") for word in words]


def _hash(text: str) -> int:
    """Return 32 bits: two texts of a thousand pairs each have a wrong pair in common once in four thousand times."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), sys.byteorder)
