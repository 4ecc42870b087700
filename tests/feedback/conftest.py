"""Stores over the databases that are at hand: SQLite always, PostgreSQL where Debian's package is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql import Server, running_server, why_not

from adapterhub.feedback.store import FeedbackStore


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server of the tests' own, on loopback."""
    if reason := why_not():
        pytest.skip(reason)
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store may be."""
    if request.param == "sqlite":
        return str(tmp_path / "feedback.sqlite3")
    server: Server = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture
def store(url: str) -> Iterator[FeedbackStore]:
    """A new store."""
    opened = FeedbackStore(url)
    yield opened
    opened.close()
