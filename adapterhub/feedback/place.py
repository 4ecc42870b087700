"""Where feedback is kept: from a file or a SQLAlchemy URL to an engine; every fault of the database told as ours."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from adapterhub.errors import InvalidConfig, StorageError
from adapterhub.feedback.tables import ANSWERS, METADATA

_BUSY_S = 30
"""SQLite waits so long for another process's transaction."""
_CONNECT_S = 5
_TOLD = (OperationalError, DatabaseError)
"""Faults of a connection or a file, whose words quote no value."""
READS: Mapping[str, Any] = {"is_reading": True}
"""Execution options of a connection that only reads: in SQLite it holds up no writer."""


def default_place(environment: Mapping[str, str] = os.environ) -> str:
    """Return ADAPTERHUB_FEEDBACK, else a file below XDG_DATA_HOME."""
    if given := environment.get("ADAPTERHUB_FEEDBACK"):
        return given
    home = Path(environment.get("HOME") or Path.home())
    return str(Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "adapterhub" / "feedback.sqlite3")


def shown(place: str) -> str:
    """Return a place for people and logs: without its password."""
    try:
        return _url_of(place).render_as_string() if "://" in place else place
    except InvalidConfig:
        return "the place of feedback"


def open_engine(place: str, *, creates: bool) -> Engine:
    """Connect to a file (SQLite) or a SQLAlchemy URL, and have its tables there.

    With `creates` False a place without tables is refused: reading makes nothing.
    Raises InvalidConfig for what is no place or a driver that is missing, StorageError for one that does not answer.
    """
    url = _url_of(place)
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=_connect_arguments(url))
    except (ModuleNotFoundError, NoSuchModuleError, ArgumentError) as error:
        raise InvalidConfig(f"{shown(place)} cannot be opened: {error}.",
                            hint="Install its driver: pip install 'adapterhub[postgresql]', or another.") from error
    if url.get_backend_name() == "sqlite":
        _prepare_file(url.database, creates=creates)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    with database_errors(place):
        if creates:
            _create_tables(engine)
        elif not inspect(engine).has_table(ANSWERS.name):
            raise StorageError(f"{shown(place)} holds no feedback.",
                               hint="Name the place that `adapterhub serve` keeps it in: --feedback PLACE.")
    return engine


@contextlib.contextmanager
def database_errors(place: str) -> Iterator[None]:
    """Tell what a database refuses as StorageError; never with what was to be written."""
    try:
        yield
    except DBAPIError as error:  # its own words hold the statement and its values
        raise StorageError(f"The feedback in {shown(place)} cannot be reached: {_reason(error)}.",
                           hint="Look at the database, then try again.") from error
    except SQLAlchemyError as error:
        raise StorageError(f"The feedback in {shown(place)} cannot be reached: {type(error).__name__}.",
                           hint="Look at the database, then try again.") from error


def _reason(error: DBAPIError) -> str:
    """Return what is wrong, of faults of the connection in words; others' words may quote values."""
    first = str(error.orig).strip().splitlines()[:1]
    return first[0][:200] if first and type(error) in _TOLD else type(error).__name__


def _url_of(place: str) -> URL:
    if not place.strip():
        raise InvalidConfig("The place of feedback is empty.", hint="Name a file, or a URL that SQLAlchemy reads.")
    if "://" not in place:
        return URL.create("sqlite", database=str(Path(place).absolute()))
    try:
        url = make_url(place)
    except ArgumentError as error:
        raise InvalidConfig("The place of feedback is no URL that SQLAlchemy reads.",
                            hint="Write for instance postgresql+psycopg://user@host/name.") from error
    if url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")  # SQLAlchemy's own default is the driver before it
    return url


def _connect_arguments(url: URL) -> dict[str, Any]:
    """Return how long a server that does not answer is waited for; psycopg's own default is for ever."""
    is_given = "connect_timeout" in url.query
    return {"connect_timeout": _CONNECT_S} if url.get_backend_name() == "postgresql" and not is_given else {}


def _prepare_file(database: str | None, *, creates: bool) -> None:
    """Make the file for its owner alone: it may come to hold texts. SQLite gives its log the same rights."""
    if not database or database == ":memory:":
        raise InvalidConfig("Feedback in memory would be lost.", hint="Name a file.")
    path = Path(database)
    if path.exists() or not creates:
        if not path.is_file():
            raise StorageError(f"{path} holds no feedback.",
                               hint="Name the place that `adapterhub serve` keeps it in: --feedback PLACE.")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.",
                           hint="Give --feedback another place.") from error


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where Python's driver guesses
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={1000 * _BUSY_S}",
                   "secure_delete=ON"):  # what is forgotten is overwritten
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # At once: a transaction that first reads and then wants to write would be refused beside another writer.
    is_reading = connection.get_execution_options().get("is_reading")
    connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")


def _create_tables(engine: Engine) -> None:
    try:
        METADATA.create_all(engine)
    except DBAPIError:  # another server made them between the look and the making
        if not inspect(engine).has_table(ANSWERS.name):
            raise
        METADATA.create_all(engine)
