"""Servers that several files of the registry's tests speak to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, HubServer, hub_server
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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A stand-in for the Hugging Face Hub with an organisation `acme`, found by the environment as the real one is.

    The client reads some variables when it is imported; these are set where it keeps them.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    with hub_server("acme") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in has large files by git-lfs alone
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield server
        close_session()
