"""The store of feedback: one database, each change one transaction, durable when it returns."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from adapterhub.feedback.place import READS, database_errors, open_engine, shown

Result = TypeVar("Result")


class FeedbackStore:
    """A database of answers and feedback. Thread-safe: each call takes a connection of its own.

    Example: `FeedbackStore("feedback.sqlite3").write(lambda connection: add_feedback(connection, said))`
    """

    def __init__(self, place: str, *, creates: bool = True) -> None:
        """Open a file (SQLite) or a SQLAlchemy URL. Raises InvalidConfig, StorageError."""
        self._place = place
        self._engine = open_engine(place, creates=creates)

    @property
    def where(self) -> str:
        """The place, for people; without its password."""
        return shown(self._place)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do work in one transaction and return what it gives, once that is durable. Raises StorageError."""
        with database_errors(self._place), self._engine.begin() as connection:
            return work(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that only reads; it holds up no writer. Raises StorageError."""
        with database_errors(self._place), self._engine.connect() as connection:
            yield connection.execution_options(**READS)

    def wipe(self) -> None:
        """Let the bytes of what was deleted go from the database's files as well, as far as others let it.

        SQLite overwrites them when it deletes; its log must be folded in. PostgreSQL keeps them until a VACUUM.
        """
        with database_errors(self._place):
            if self._engine.dialect.name == "sqlite":
                with contextlib.closing(self._engine.raw_connection()) as raw:
                    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            elif self._engine.dialect.name == "postgresql":
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("VACUUM adapterhub_texts, adapterhub_feedback, adapterhub_answers")

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()
