"""The pieces of the server's benchmark, at a tiny size: the load, what is counted as wrong, who is compared."""

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Running, running

from adapterhub.bases.load import Base, load_base
from adapterhub.costs.many import ManyAdapters, name_of
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.server.config import Limits, ServerConfig
from adapterhub.settings import Settings
from benchmarks import serve, serve_moves
from benchmarks.adapters_made import Recipe, publish_all, write_adapters
from benchmarks.http_load import Connection, Reply, closed_loop, open_loop, request_of
from benchmarks.texts import TextSource

RECIPE = Recipe(rank=4, n_labels=3, head=("classifier",))


@pytest.fixture(scope="module")
def base(tiny_base_folder: Path, tiny_settings: Settings) -> Base:
    return load_base(str(tiny_base_folder), cache=tiny_settings.cache)


@pytest.fixture(scope="module")
def folders(base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_adapters(tmp_path_factory.mktemp("made"), base, RECIPE, range(3))


@pytest.fixture(scope="module")
def server(base: Base, folders: list[Path], tiny_settings: Settings,
           tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("served")
    registry = Registry(place / "registry")
    publish_all(registry, folders)
    config = ServerConfig(port=0, limits=Limits(queued_rows=80))
    many = ManyAdapters(folders, registry)
    with running(base, many, place, tiny_settings, config=config,  # type: ignore[arg-type]  # it reads alike
                 runtime_config=RuntimeConfig()) as own:
        yield own


def request(adapter: str = name_of(1), **headers: str) -> bytes:
    return request_of("/v1/predict", {"rows": [{"adapter": adapter, "text": "my card"}]}, **headers)


def test_closed_load_asks_again_when_it_is_answered(server: Running) -> None:
    load = closed_loop(server.url, request, n_connections=2, seconds=0.3)
    assert len(load.answered) == len(load.replies) > 2
    assert load.per_s == pytest.approx(len(load.replies) / load.seconds)
    assert load.replies[0].json["answers"][0]["adapter"] == name_of(1)


def test_open_load_does_not_wait_for_answers_and_refusals_say_when(server: Running) -> None:
    load = open_loop(server.url, [(0.0, request()) for _ in range(300)])
    refused = [reply for reply in load.replies if reply.status == 429]
    assert len(load.answered) + len(refused) == 300
    assert refused
    assert all("retry-after" in reply.headers for reply in refused)


def test_server_that_is_gone_is_an_answer_that_did_not_come() -> None:
    load = closed_loop("http://127.0.0.1:9", lambda: b"", n_connections=1, seconds=0.01)
    assert {reply.status for reply in load.replies} == {0}
    Connection("http://127.0.0.1:9").close()


def test_rows_of_the_trace_are_the_same_for_any_number_of_adapters_but_for_these(base: Base) -> None:
    few, many = (serve.Rows(TextSource(base, 1), n, seed=3).take(50) for n in (2, 100))
    assert [text for _, text in few] == [text for _, text in many]
    assert len({name for name, _ in few}) == 2 < len({name for name, _ in many})


def test_moving_alias_finds_nothing_wrong_and_counts_what_is(
        server: Running, base: Base, folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_moves, "_MOVE_S", 0.6)
    registry = Registry(Path(server.registry._behind.where))  # type: ignore[attr-defined]
    figures = {figure.name: figure for figure in
               serve_moves.moving_alias(server, registry, folders[:2], base, 2.0)}  # type: ignore[arg-type]
    assert figures["requests that failed meanwhile"].value == 0
    assert figures["answers that their digest does not give"].value == 0
    assert figures["versions seen"].value == 2
    body = b'{"answers": [{"digest": "d", "result": {"score": 0.9}}]}'
    reply = Reply(200, 0.1, body, "")
    assert serve_moves._n_wrong(reply, ["a"], {"d": {"a": {"score": 0.9}}}) == 0
    assert serve_moves._n_wrong(reply, ["a"], {"d": {"a": {"score": 0.5}}}) == 1


def test_benchmark_has_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", "--help"])
    monkeypatch.delitem(sys.modules, "benchmarks.serve", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("benchmarks.serve", run_name="__main__")
    assert ended.value.code == 0
    assert "--quick" in capsys.readouterr().out
