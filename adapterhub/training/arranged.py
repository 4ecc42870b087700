"""Examples of several sequences one behind the other, in any order and any number of times, read when asked for."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import overload

from adapterhub.tasks.task import Example
from adapterhub.training.example_file import ExampleFile


class Arranged(Sequence[Example]):
    """A view that holds numbers, and none of the examples."""

    def __init__(self, files: Sequence[ExampleFile], order: Sequence[int] | None = None) -> None:
        """Show the files' examples one behind the other, or those of them that `order` names by their place."""
        self._files = files
        self._ends = list(accumulate(map(len, files)))
        self._order = range(self._ends[-1]) if order is None else order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = self._order[index]
        number = bisect_right(self._ends, place)
        return self._files[number][place - self._ends[number] + len(self._files[number])]

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each example's longest sequence [N]."""
        lengths = [length for file in self._files for length in file.lengths]
        return [lengths[place] for place in self._order]
