"""Adapters by hand: listed, loaded ahead, pinned, unloaded; a pin follows its alias."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Running, running

from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.server.config import ServerConfig
from adapterhub.settings import Settings


@pytest.fixture
def server(tiny_base_folder: Path, tiny_settings: Settings, registry: Registry, tmp_path: Path) -> Iterator[Running]:
    """A server of the test's own with two slots."""
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, config=ServerConfig(port=0, follow_s=0.2),
                 runtime_config=RuntimeConfig(dtype="float32", max_slots=2)) as own:
        yield own


def resident(server: Running) -> set[str]:
    return {one["adapter"] for one in server.get("/v1/adapters").json()["adapters"] if one["is_resident"]}


def test_list_has_every_adapter_page_by_page(server: Running) -> None:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = server.get(f"/v1/adapters?limit=2&after={after}").json()
        found += [one["adapter"] for one in page["adapters"]]
        after = page["next"]
    assert found == list(server.registry.paths())
    assert server.get("/v1/adapters?limit=0").status_code == 400


def test_adapter_is_loaded_ahead_and_unloaded(server: Running) -> None:
    loaded = server.post("/v1/adapters/t/pairs/load", None).json()
    assert (loaded["version"], loaded["is_resident"], loaded["is_pinned"]) == ("t/pairs@1", True, False)
    assert resident(server) == {"t/pairs"}
    n_loads = server.metric("adapterhub_adapter_loads_total")
    server.predict({"adapter": "t/pairs", "text": "my card"})
    assert server.metric("adapterhub_adapter_loads_total") == n_loads
    assert not server.post("/v1/adapters/t/pairs/unload", None).json()["is_resident"]
    assert resident(server) == set()


def test_pinned_adapter_stays_while_others_come_and_go(server: Running) -> None:
    assert server.post("/v1/adapters/t/pairs/pin", None).json()["is_pinned"]
    for name in ("intents3", "intents5", "entities", "query-only"):
        assert "result" in server.predict({"adapter": f"t/{name}", "text": "my card"})[0]
    assert "t/pairs" in resident(server)
    refused = server.post("/v1/adapters/t/pairs/unload", None)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (409, "Conflict")
    assert server.get("/v1/statistics").json()["pinned"] == {"t/pairs": "t/pairs@1"}
    assert not server.post("/v1/adapters/t/pairs/unpin", None).json()["is_pinned"]
    assert server.post("/v1/adapters/t/pairs/unpin", None).status_code == 409
    assert server.post("/v1/adapters/t/pairs/unload", None).status_code == 200


def test_pin_follows_its_alias(server: Running, tiny_adapters: dict[str, Path]) -> None:
    server.registry.publish(tiny_adapters["intents5"], "t/intents3")
    server.registry.promote("t/intents3@1", "live")
    server.post("/v1/adapters/t/intents3@live/pin", None)
    server.registry.promote("t/intents3@2", "live")
    time.sleep(0.25)
    assert server.predict({"adapter": "t/intents3@live", "text": "my card"})[0]["version"] == "t/intents3@2"
    assert server.get("/v1/statistics").json()["pinned"] == {"t/intents3@live": "t/intents3@2"}
    assert server.post("/v1/adapters/t/intents3@1/unload", None).status_code == 200
    assert server.post("/v1/adapters/t/intents3@2/unload", None).status_code == 409


def test_every_slot_pinned_is_503_for_another_adapter_and_told(server: Running) -> None:
    for name in ("pairs", "entities"):
        server.post(f"/v1/adapters/t/{name}/pin", None)
    reply = server.post("/v1/predict", {"rows": [{"adapter": "t/intents3", "text": "my card"}]})
    assert (reply.status_code, reply.json()["error"]["kind"]) == (503, "NoRoom")
    assert "unpin" in reply.json()["error"]["hint"]
    assert "result" in server.predict({"adapter": "t/pairs", "text": "my card"})[0]


@pytest.mark.parametrize("verb", ["load", "pin", "unpin", "unload"])
def test_unknown_adapter_is_404_with_near_misses(server: Running, verb: str) -> None:
    reply = server.post(f"/v1/adapters/t/pair/{verb}", None)
    assert reply.status_code == 404
    assert "t/pairs" in reply.json()["error"]["hint"]


def test_budget_of_slots_is_the_servers_setting(tiny_base_folder: Path, tiny_settings: Settings, registry: Registry,
                                                tmp_path: Path) -> None:
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings,
                 config=ServerConfig(port=0, slots_bytes=60_000), is_usual=True) as own:
        for name in ("intents3", "intents5", "entities", "query-only", "pairs"):
            assert "result" in own.predict({"adapter": f"t/{name}", "text": "my card"})[0]
        assert 0 < own.metric("adapterhub_slots_bytes") <= 60_000
        assert own.metric("adapterhub_adapter_evictions_total") > 0


def test_statistics_count_what_was_done(server: Running) -> None:
    server.predict({"adapter": "t/pairs", "text": "my card"}, {"adapter": "t/nobody", "text": "a"})
    told = server.get("/v1/statistics").json()
    assert told["base"] == server.house.base_id
    assert (told["runtime"]["n_rows"], told["runtime"]["n_loads"], told["queue"]["n_rows"]) == (1, 1, 0)
    assert server.metric('adapterhub_rows_total{adapter="t/pairs",outcome="answered"}') == 1
    assert "nobody" not in server.get("/metrics").text  # what somebody wrote is no label
    assert "my card" not in server.get("/metrics").text
