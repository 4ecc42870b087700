"""Rows that were asked for and are not answered yet: to be waited for, or taken back. It computes nothing itself."""

from collections.abc import Callable, Sequence

from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.plan import WaitingRow

Work = Callable[[Sequence[WaitingRow]], None]
Cancel = Callable[[Sequence[WaitingRow]], int]


class PendingRows:
    """What `Runtime.submit` returns. Thread-safe.

    The runtime has no thread of its own: whoever asks for answers computes, and takes others' rows along.
    """

    def __init__(self, rows: Sequence[WaitingRow], work: Work, cancel: Cancel) -> None:
        self._rows, self._work, self._cancel = tuple(rows), work, cancel

    @property
    def is_done(self) -> bool:
        """Whether every row is answered, failed or cancelled."""
        return all(row.is_done for row in self._rows)

    def answers(self) -> list[Answer | Failure]:
        """Return the answers in the order of the rows; computes until they are there."""
        self._work(self._rows)
        return [row.answer for row in self._rows]

    def cancel(self) -> int:
        """Take back the rows that no pass has begun, and return how many; they fail with Cancelled."""
        return self._cancel(self._rows)
