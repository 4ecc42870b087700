"""A registry that does not answer: what was known goes on, what is new is 503, and it comes back by itself."""

import time
from pathlib import Path

import pytest
from running_server import running
from s3_server import s3_server

from adapterhub.registry import Registry
from adapterhub.server.config import ServerConfig
from adapterhub.settings import Settings


def test_registry_that_is_down_leaves_known_references_serving(
        tiny_base_folder: Path, tiny_settings: Settings, tiny_adapters: dict[str, Path], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as s3:
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        s3.create_bucket("lookup-down")
        registry = Registry("s3://lookup-down")
        registry.publish(tiny_adapters["intents3"], "t/a")
        with running(str(tiny_base_folder), registry, tmp_path, tiny_settings,
                     config=ServerConfig(port=0, follow_s=0.2)) as server:
            row = {"adapter": "t/a", "text": "my card"}
            assert server.predict(row)[0]["version"] == "t/a@1"
            monkeypatch.setattr(server.registry.store.__class__, "folders", _fails)
            time.sleep(0.25)
            known, new = server.predict(row, {"adapter": "t/b", "text": "my card"})
            assert known["version"] == "t/a@1"
            assert (new["error"]["status"], new["error"]["kind"]) == (503, "StorageError")
            assert [problem.wanted for problem in server.house.follower.problems()] == [None]
            monkeypatch.undo()
            for name, value in s3.environment().items():
                monkeypatch.setenv(name, value)
            time.sleep(0.25)
            assert server.predict(row)[0]["version"] == "t/a@1"
            assert not server.house.follower.problems()


def _fails(*_: object) -> list[str]:
    from adapterhub.errors import StorageError

    raise StorageError("The bucket does not answer.", hint="Check the network.")
