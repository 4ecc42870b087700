"""What a caller holds of one row: its tokens as they come, its answer, and the way to end it."""

from collections.abc import Callable, Iterator

from adapterhub.runtime.answer import Failure
from adapterhub.runtime.generation.row import Generated, TokenPiece, WritingRow


class TokenStream:
    """Iterates over one row's new tokens; waiting for one lets the generator step, unless somebody else does.

    Several streams may be read in several threads; one stream is read by one. A stream that is closed, left by `with`,
    or forgotten, ends its row: its memory is free at the next step at the latest.
    """

    def __init__(self, row: WritingRow, step_until: Callable[[Callable[[], bool]], None],
                 cancel: Callable[[WritingRow], None]) -> None:
        self._row, self._step_until, self._cancel = row, step_until, cancel
        self._n_read = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be written."""
        return self._row.is_done

    @property
    def version(self) -> str | None:
        """Which version writes, `namespace/name@3`; None: the bare base."""
        return self._row.version.reference if self._row.version else None

    @property
    def digest(self) -> str | None:
        """SHA-256 of that version."""
        return self._row.version.digest if self._row.version else None

    def __enter__(self) -> "TokenStream":
        return self

    def __exit__(self, *_: object) -> None:
        """End the row, unless it has ended."""
        self.cancel()

    def __del__(self) -> None:
        """Mark the row; a collector may run in the middle of a step, so nothing else is touched here."""
        self._row.is_abandoned = True

    def ready(self) -> list[TokenPiece]:
        """Return the new tokens that are there; it waits for none and lets nothing step."""
        pieces = self._row.pieces[self._n_read:]
        self._n_read += len(pieces)
        return pieces

    def __iter__(self) -> Iterator[TokenPiece]:
        return self

    def __next__(self) -> TokenPiece:
        """Return the next token with its text. Raises StopIteration at the end, or the row's own error."""
        row = self._row
        self._step_until(lambda: len(row.pieces) > self._n_read or row.is_done)
        if len(row.pieces) > self._n_read:
            self._n_read += 1
            return row.pieces[self._n_read - 1]
        if row.error is not None:
            raise row.error
        raise StopIteration

    def result(self) -> Generated:
        """Wait for the end and return the whole answer. Raises the row's own error."""
        self._step_until(lambda: self._row.is_done)
        return self._row.answer()

    def outcome(self) -> Generated | Failure:
        """Wait for the end and return the whole answer, or why there is none."""
        self._step_until(lambda: self._row.is_done)
        row = self._row
        return row.answer() if row.error is None else Failure(reference=row.reference, error=row.error)

    def cancel(self) -> None:
        """End the row now and free its memory; what it has written stays readable."""
        self._cancel(self._row)

    close = cancel
