"""Bearer tokens: kept as hashes, bound to scopes and namespaces, noticed when made or revoked."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from running_server import Running, running, wait_until

from adapterhub.errors import AdapterHubError, AdapterNotFound, InvalidConfig, UnknownName
from adapterhub.registry import Registry
from adapterhub.server.config import Limits, ServerConfig
from adapterhub.server.listening import require_tokens
from adapterhub.server.tokens import Tokens, default_place
from adapterhub.settings import Settings

ROW = {"adapter": "t/intents3", "text": "my card"}
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_token_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    made, record = Tokens(tmp_path).create("the desk", ("predict",), ("support",))
    kept, = tmp_path.iterdir()
    assert made not in kept.read_text()
    assert made.rpartition("_")[2] not in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    holder = Tokens(tmp_path).holder_of(made)
    assert holder is not None
    assert (holder.id, holder.scopes, holder.namespaces) == (record.id, ("predict",), ("support",))
    assert Tokens(tmp_path).holder_of(made[:-1]) is None


def test_revoked_token_is_unknown_and_the_others_stay(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    (first, record), (second, _) = (tokens.create(name, ("predict",)) for name in ("a", "b"))
    tokens.revoke(record.id)
    assert Tokens(tmp_path).holder_of(first) is None
    assert Tokens(tmp_path).holder_of(second) is not None


def test_token_ends_with_its_time(tmp_path: Path) -> None:
    made, _ = Tokens(tmp_path, clock=lambda: NOW).create("a", ("predict",), expires_at=NOW + timedelta(days=1))
    assert Tokens(tmp_path, clock=lambda: NOW + timedelta(hours=23)).holder_of(made) is not None
    assert Tokens(tmp_path, clock=lambda: NOW + timedelta(hours=24)).holder_of(made) is None


@pytest.mark.parametrize(("make", "error", "told"), [
    (lambda tokens: tokens.create(" ", ("predict",)), InvalidConfig, "name is empty"),
    (lambda tokens: tokens.create("a", ()), InvalidConfig, "without a scope"),
    (lambda tokens: tokens.create("a", ("predictt",)), UnknownName, "Did you mean predict?"),
    (lambda tokens: tokens.create("a", ("predict",), ("No Space",)), InvalidConfig, "'No Space'"),
    (lambda tokens: tokens.create("a", ("predict",), expires_at=NOW), InvalidConfig, "have expired"),
    (lambda tokens: tokens.revoke("00000000"), AdapterNotFound, "adapterhub token list"),
])
def test_token_that_makes_no_sense_is_refused_and_none_is_kept(
        make: Callable[[Tokens], Any], error: type[AdapterHubError], told: str, tmp_path: Path) -> None:
    with pytest.raises(error) as refused:
        make(Tokens(tmp_path, clock=lambda: NOW))
    assert told in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_damaged_file_lets_nobody_in_and_harms_no_other_token(tmp_path: Path) -> None:
    made, _ = Tokens(tmp_path).create("a", ("predict",))
    (tmp_path / "ffffffff.json").write_text('{"id": 5}')
    assert Tokens(tmp_path).holder_of(made) is not None
    with pytest.raises(AdapterHubError, match="no token record"):
        Tokens(tmp_path).list()


def test_place_of_tokens_follows_the_environment() -> None:
    assert default_place({"ADAPTERHUB_TOKENS": "/x"}) == Path("/x")
    assert default_place({"HOME": "/h"}) == Path("/h/.local/share/adapterhub/tokens")


def test_token_that_cannot_be_read_closes_the_door_all_the_same(tmp_path: Path) -> None:
    assert not Tokens(tmp_path / "none").has_any()
    (tmp_path / "ffffffff.json").write_text('{"id": 5}')
    assert Tokens(tmp_path).has_any()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_without_a_token_it_listens_on_loopback_alone(host: str, tmp_path: Path) -> None:
    for loopback in ("127.0.0.1", "::1", "localhost", "127.3.2.1"):
        require_tokens(ServerConfig(host=loopback), Tokens(tmp_path))
    with pytest.raises(InvalidConfig, match="adapterhub token create"):
        require_tokens(ServerConfig(host=host), Tokens(tmp_path))
    Tokens(tmp_path).create("a", ("predict",))
    require_tokens(ServerConfig(host=host), Tokens(tmp_path))


@pytest.fixture(scope="module")
def guarded(tiny_base_folder: Path, tiny_settings: Settings, tiny_adapters: dict[str, Path],
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with tokens, over t/intents3 and other/secret."""
    place = tmp_path_factory.mktemp("guarded")
    registry = Registry(place / "registry")
    for name in ("t/intents3", "other/intents3"):
        registry.publish(tiny_adapters["intents3"], name)
    Tokens(place / "tokens").create("first", ("manage",))
    config = ServerConfig(port=0, limits=Limits(rows_per_s=20))
    with running(str(tiny_base_folder), registry, place, tiny_settings, config=config) as server:
        yield server


def bearer(server: Running, *scopes: str, namespaces: tuple[str, ...] = ("*",)) -> dict[str, str]:
    made, _ = server.tokens.create("a test", scopes, namespaces)
    headers = {"authorization": f"Bearer {made}"}
    wait_until(lambda: server.house.door.tokens.holder_of(made) is not None)
    return headers


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer ah_00000000_x"}, {"authorization": "Basic YTpi"},
                                     {"authorization": "Bearer"}, {"authorization": ""}])
def test_request_without_a_known_token_is_401(guarded: Running, headers: dict[str, str]) -> None:
    for reply in (guarded.post("/v1/predict", {"rows": [ROW]}, **headers), guarded.get("/metrics", **headers)):
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/healthz", **headers).status_code == 200


def test_token_may_do_what_its_scopes_say(guarded: Running) -> None:
    predict, manage = bearer(guarded, "predict"), bearer(guarded, "manage")
    assert guarded.post("/v1/predict", {"rows": [ROW]}, **predict).status_code == 200
    assert guarded.post("/v1/predict", {"rows": [ROW]}, **manage).status_code == 403
    assert guarded.get("/metrics", **manage).status_code == 200
    assert guarded.get("/metrics", **predict).status_code == 403


def test_token_sees_its_namespaces_alone(guarded: Running) -> None:
    headers = bearer(guarded, "predict", namespaces=("t",))
    rows = [ROW, {"adapter": "other/intents3", "text": "a"}, {"adapter": "other/nobody", "text": "a"},
            {"adapter": "t/intents33", "text": "a"}]
    own, others, nobody, near = guarded.post("/v1/predict", {"rows": rows}, **headers).json()["answers"]
    assert own["result"]
    assert others["error"]["status"] == nobody["error"]["status"] == 403  # whether it is there is not told
    assert "t/intents3" in near["error"]["hint"]
    assert "other" not in str(near)


def test_revoked_token_is_noticed_by_the_running_server(guarded: Running) -> None:
    headers = bearer(guarded, "predict")
    assert guarded.post("/v1/predict", {"rows": [ROW]}, **headers).status_code == 200
    guarded.tokens.revoke(headers["authorization"].split("_")[1])
    wait_until(lambda: guarded.post("/v1/predict", {"rows": [ROW]}, **headers).status_code == 401, timeout_s=10)


def test_holder_past_the_rate_is_429_and_other_holders_are_not(guarded: Running) -> None:
    many, other = bearer(guarded, "predict"), bearer(guarded, "predict")
    replies = [guarded.post("/v1/predict", {"rows": [ROW] * 20}, **many) for _ in range(4)]
    refused = next(reply for reply in replies if reply.status_code != 200)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (429, "TooBusy")
    assert int(refused.headers["retry-after"]) >= 1
    assert guarded.post("/v1/predict", {"rows": [ROW]}, **other).status_code == 200


def test_server_that_had_a_token_never_opens_again(tiny_base_folder: Path, tiny_settings: Settings, registry: Registry,
                                                   tmp_path: Path) -> None:
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings) as server:
        assert server.post("/v1/predict", {"rows": [ROW]}).status_code == 200
        _, record = server.tokens.create("a", ("predict",))
        wait_until(lambda: server.post("/v1/predict", {"rows": [ROW]}).status_code == 401, timeout_s=10)
        server.tokens.revoke(record.id)
        wait_until(lambda: not server.house.door.tokens.has_any(), timeout_s=10)
        assert server.post("/v1/predict", {"rows": [ROW]}).status_code == 401


def test_figures_of_all_namespaces_are_for_who_sees_them_all(guarded: Running) -> None:
    assert guarded.get("/metrics", **bearer(guarded, "manage", namespaces=("t",))).status_code == 403
    assert guarded.get("/metrics", **bearer(guarded, "manage")).status_code == 200
