"""Following the registry: moves are noticed within a second, a version that cannot load changes nothing."""

import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from adapter_folders import write_adapter_folder
from running_server import Running, running, wait_until
from s3_server import s3_server

from adapterhub.adapter.folder import read_folder
from adapterhub.registry import Registry
from adapterhub.server.config import ServerConfig
from adapterhub.settings import Settings

ROW = {"adapter": "t/a@live", "text": "my card"}
NOTICED_S = 1.0
"""The promise; on a machine with much else to do, the registry's own work is measured too."""


_NUMBERS = count()


@pytest.fixture(params=["local", "s3"])
def places(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder, and a bucket."""
    if request.param == "local":
        yield str(tmp_path / "registry")
        return
    with s3_server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        bucket = f"follow-{next(_NUMBERS)}"  # the server's buckets are the process's
        server.create_bucket(bucket)
        yield f"s3://{bucket}/here"


@pytest.fixture
def server(places: str, tiny_base_folder: Path, tiny_settings: Settings, tiny_adapters: dict[str, Path],
           tmp_path: Path) -> Iterator[Running]:
    """A server over t/a with two good versions; `live` is the first."""
    registry = Registry(places)
    registry.publish(tiny_adapters["intents3"], "t/a")
    registry.publish(tiny_adapters["intents5"], "t/a")
    registry.promote("t/a@1", "live")
    config = ServerConfig(port=0, follow_s=0.3)
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, config=config) as running_server:
        yield running_server


def test_moved_alias_answers_with_the_new_version_within_a_second_and_none_fails(
        server: Running, tiny_adapters: dict[str, Path]) -> None:
    expected = {f"t/a@{i}": (read_folder(tiny_adapters[name]).digest, name)
                for i, name in ((1, "intents3"), (2, "intents5"))}
    seen: list[tuple[float, dict[str, Any]]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            started = time.monotonic()
            seen.append((started, server.predict(ROW)[0]))
    assert server.predict(ROW)[0]["version"] == "t/a@1"
    thread = threading.Thread(target=ask)
    thread.start()
    moves = []
    for version in (2, 1, 2):
        server.registry.promote(f"t/a@{version}", "live")
        moves.append((time.monotonic(), f"t/a@{version}"))
        wait_until(lambda version=version: seen and seen[-1][1].get("version") == f"t/a@{version}")  # type: ignore[misc]
    is_over.set()
    thread.join()
    for _, answer in seen:
        assert answer["digest"] == expected[answer["version"]][0]
    for (at, version), ends_at in zip(moves, [*(at for at, _ in moves[1:]), float("inf")], strict=True):
        late = [answer for started, answer in seen if at + NOTICED_S < started < ends_at]
        assert all(answer["version"] == version for answer in late)
    assert server.metric("adapterhub_alias_switches_total") >= 3


def test_idle_reference_means_the_new_version_at_the_first_request_after_a_move(server: Running) -> None:
    assert server.predict(ROW)[0]["version"] == "t/a@1"
    server.registry.promote("t/a@2", "live")
    time.sleep(0.35)
    assert server.predict(ROW)[0]["version"] == "t/a@2"


def test_published_version_is_latest_within_a_second(server: Running, tiny_adapters: dict[str, Path]) -> None:
    row = {"adapter": "t/a", "text": "my card"}
    assert server.predict(row)[0]["version"] == "t/a@2"
    server.registry.publish(tiny_adapters["query-only"], "t/a")
    time.sleep(0.35)
    assert server.predict(row)[0]["version"] == "t/a@3"


def test_version_that_cannot_load_leaves_the_one_before_and_says_so(server: Running, tmp_path: Path) -> None:
    assert server.predict(ROW)[0]["version"] == "t/a@1"
    server.registry.publish(write_adapter_folder(tmp_path / "foreign"), "t/a")  # of another base
    server.registry.promote("t/a@3", "live")
    time.sleep(0.35)
    assert server.predict(ROW)[0]["version"] == "t/a@1"
    problem, = server.house.follower.problems()
    assert (problem.reference, problem.wanted, problem.serving) == ("t/a@live", "t/a@3", "t/a@1")
    assert problem.kind == "BaseMismatch"
    assert server.metric("adapterhub_follow_problems") == 1
    server.registry.promote("t/a@2", "live")
    time.sleep(0.35)
    assert server.predict(ROW)[0]["version"] == "t/a@2"
    assert not server.house.follower.problems()


def test_yanked_version_is_refused_within_a_second_but_for_its_digest(server: Running) -> None:
    digest = server.registry.resolve("t/a@1").digest
    rows = [ROW, {**ROW, "adapter": "t/a@1"}, {**ROW, "adapter": f"t/a@sha256:{digest}"}]
    assert {answer["version"] for answer in server.predict(*rows)} == {"t/a@1"}
    server.registry.yank("t/a@1", "its labels were swapped")
    time.sleep(0.35)
    by_alias, by_number, by_digest = server.predict(*rows)
    assert (by_alias["error"]["kind"], by_number["error"]["kind"]) == ("VersionYanked", "VersionYanked")
    assert by_digest["version"] == "t/a@1"
