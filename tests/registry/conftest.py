"""Servers that several files of the registry's tests speak to."""

from collections.abc import Iterator

import pytest
from s3_server import S3Server, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server with a bucket named `adapters`."""
    with s3_server() as server:
        server.create_bucket("adapters")
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The address of an empty place in that bucket, with the environment set to reach it."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://adapters/{abs(hash(request.node.nodeid)):x}"
