"""The registry on the Hugging Face Hub, by the unmodified client against a stand-in for it: the same promises."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from hub_server import HubServer
from huggingface_hub import constants

from adapterhub.adapter.folder import CARD_FILE, FOLDER_FILES
from adapterhub.errors import AdapterNotFound, InvalidReference, PromotionRefused, StorageError, VersionExists
from adapterhub.registry import Limits, Query, Registry
from adapterhub.registry.copying import copy_adapter
from adapterhub.registry.find import Filters, find
from adapterhub.registry.hugging_face_names import path_of, repo_name, spot_of
from adapterhub.registry.index import SearchIndex
from adapterhub.registry.policy import change_policy, read_policy
from adapterhub.registry.records import PolicyRecord
from adapterhub.registry.stores import open_store
from adapterhub.registry.sweep import find_remains, sweep
from adapterhub.registry.watch import moves_since, positions

PLACE = "hf://acme"
REPO = "acme/support__intents"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own upload


def publish(place: str | Registry, tmp_path: Path, n: int, path: str = "support/intents") -> list[Path]:
    """Publish adapters of different seeds and return their folders."""
    registry = Registry(place) if isinstance(place, str) else place
    folders = [write_adapter_folder(tmp_path / f"{path.replace('/', '-')}-{seed}", seed=seed) for seed in range(n)]
    for folder in folders:
        registry.publish(folder, path)
    return folders


def shown(hub: HubServer, revision: str = "main") -> bytes:
    """The card that the Hub's page shows."""
    commit = hub.repos[REPO].find(revision)
    assert commit
    return commit.tree[CARD_FILE].data


def test_published_version_comes_back_with_the_same_bytes(hub: HubServer, tmp_path: Path) -> None:
    folder, registry = write_adapter_folder(tmp_path / "a"), Registry(PLACE, by="ann")
    published = registry.publish(folder, "support/intents")
    assert (published.reference, published.place, published.is_new) == ("support/intents@1", PLACE, True)
    other = Registry(PLACE)
    pulled = other.pull("support/intents", tmp_path / "b")
    assert pulled.files == {name: (folder / name).read_bytes() for name in FOLDER_FILES}
    assert other.verify("support/intents").version == other.resolve("support/intents@1")
    assert (other.resolve("support/intents").published_by, other.local_path("support/intents")) == ("ann", None)


def test_hub_without_large_files_needs_no_setting_of_the_client(hub: HubServer, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    hub.has_large_files = False
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    folder, = publish(PLACE, tmp_path, 1)
    assert Registry(PLACE).read("support/intents").files["adapter_model.safetensors"] == (
        folder / "adapter_model.safetensors").read_bytes()
    assert not hub.large


def test_each_version_is_one_commit_and_one_tag_with_the_folder_at_the_root(hub: HubServer, tmp_path: Path) -> None:
    folders = publish(PLACE, tmp_path, 3)
    repo = hub.repos[REPO]
    assert [commit.title for commit in repo.history("main")] == ["Version v3", "Version v2", "Version v1",
                                                                 "initial commit"]
    assert sorted(repo.tags) == ["v1", "v2", "v3"]
    for number, folder in enumerate(folders, start=1):
        commit = repo.find(f"v{number}")
        assert commit in repo.history("main")
        assert commit
        assert set(commit.tree) == {".gitattributes", *FOLDER_FILES}
        assert all(commit.tree[name].data == (folder / name).read_bytes() for name in FOLDER_FILES)
    assert shown(hub) == (folders[2] / CARD_FILE).read_bytes()
    assert repo.find("main").tree["adapter_model.safetensors"].is_large  # type: ignore[union-attr]  # it is there


def test_same_content_again_makes_no_new_version(hub: HubServer, tmp_path: Path) -> None:
    folder, = publish(PLACE, tmp_path, 1)
    again = Registry(PLACE).publish(folder, "support/intents")
    assert (again.version, again.is_new, sorted(hub.repos[REPO].tags)) == (1, False, ["v1"])


def test_earlier_content_can_become_a_later_version(hub: HubServer, tmp_path: Path) -> None:
    first, _ = publish(PLACE, tmp_path, 2)
    assert Registry(PLACE).publish(first, "support/intents").version == 3
    assert shown(hub) == (first / CARD_FILE).read_bytes()


def test_number_that_is_taken_is_refused(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 1)
    with pytest.raises(VersionExists, match="Publish it as version 2"):
        Registry(PLACE).publish(write_adapter_folder(tmp_path / "x", seed=9), "support/intents", version=1)


def test_alias_keeps_its_history_and_goes_back(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 2)
    registry, other = Registry(PLACE, by="ann"), Registry(PLACE)
    for number in (1, 2):
        registry.promote(f"support/intents@{number}", "production")
    assert other.resolve("support/intents@production").version == 2
    registry.rollback("support/intents@production")
    moves = Registry(PLACE).history("support/intents@production")
    assert [(move.number, move.version, move.action, move.by) for move in moves] == [
        (1, 1, "promote", "ann"), (2, 2, "promote", "ann"), (3, 1, "rollback", "ann")]
    assert registry.move_at("support/intents@production", datetime.now(UTC)).version == 1
    with pytest.raises(PromotionRefused, match="expected move 1, found 3"):
        other.promote("support/intents@2", "production", expected=1)


def test_alias_is_a_tag_that_stock_clients_read(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 2)
    registry, tags = Registry(PLACE), hub.repos[REPO].tags
    for number in (1, 2):
        registry.promote(f"support/intents@{number}", "production")
        assert tags["production"] == tags[f"v{number}"]
    registry.rollback("support/intents@production")
    assert tags["production"] == tags["v1"]
    tags["production"] = tags["v2"]  # by hand: our alias stays where its history says
    assert Registry(PLACE).resolve("support/intents@production").version == 1


@pytest.mark.parametrize("alias", ["v2", "main", "adapterhub"])
def test_alias_named_as_a_versions_tag_or_a_branch_is_no_tag(hub: HubServer, tmp_path: Path, alias: str) -> None:
    publish(PLACE, tmp_path, 2)
    tags = dict(hub.repos[REPO].tags)
    Registry(PLACE).promote("support/intents@1", alias)
    assert (Registry(PLACE).resolve(f"support/intents@{alias}").version, hub.repos[REPO].tags) == (1, tags)


def test_yanked_version_is_neither_latest_nor_shown_any_more(hub: HubServer, tmp_path: Path) -> None:
    first, _ = publish(PLACE, tmp_path, 2)
    assert Registry(PLACE).yank("support/intents@2", "swapped labels").is_yanked
    assert Registry(PLACE).resolve("support/intents").version == 1
    assert Registry(PLACE).resolve("support/intents@2").is_yanked
    assert shown(hub) == (first / CARD_FILE).read_bytes()


def test_adapters_of_all_pages_are_listed_and_searched(hub: HubServer, tmp_path: Path) -> None:
    paths = [f"team{number % 2}/adapter-{number}" for number in range(5)]
    for number, path in enumerate(paths):
        Registry(PLACE).publish(write_adapter_folder(tmp_path / str(number), seed=number), path)
    hub.repos["acme/no-adapter"] = hub.repos["acme/neither__this"] = type(hub.repos["acme/team0__adapter-0"])()
    registry = Registry(PLACE)
    assert [listing.path for listing in registry.list()] == sorted(paths)
    assert [listing.path for listing in registry.search(Query(text="seed 3"))] == ["team1/adapter-3"]
    with pytest.raises(AdapterNotFound, match="Did you mean team0/adapter-4"):
        registry.resolve("team0/adapter-5")


def test_what_did_not_change_is_not_fetched_again(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 3)
    registry = Registry(PLACE)
    registry.promote("support/intents@1", "production")
    first = registry.list()
    before = len(hub.requests)
    assert Registry(PLACE).list() == first
    # the repos, the branches twice (an alias is looked at as it is now), the records' names, the version's names
    assert len(hub.requests) - before == 5
    assert not any("/resolve/" in request for request in hub.requests[before:])


def test_search_index_reads_again_only_what_changed(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 1)
    publish(PLACE, tmp_path, 1, "news/topics")
    index = SearchIndex(open_store(PLACE), tmp_path / "index.sqlite")
    assert (index.refresh(), find(index, Filters(text="test adapter")).total) == (2, 2)
    Registry(PLACE).promote("news/topics@1", "production")
    again = SearchIndex(open_store(PLACE), tmp_path / "index.sqlite")
    assert (again.refresh(), find(again, Filters(alias="production")).paths) == (1, ("news/topics",))
    index.close()
    again.close()


def test_adapter_is_copied_to_the_hub_and_back(hub: HubServer, tmp_path: Path) -> None:
    folder = Registry(tmp_path / "folder")
    publish(folder, tmp_path, 3)
    folder.promote("support/intents@1", "production")
    folder.promote("support/intents@3", "production")
    folder.yank("support/intents@2", "bad")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a", "label": "card"}\n')
    folder.set_gate("support/intents", "production", Limits(metric="accuracy", minimum=0.5), rows)
    there = open_store(PLACE)
    assert all(part.is_new for part in copy_adapter(folder.store, there, "support/intents"))
    assert not any(part.is_new for part in copy_adapter(folder.store, there, "support/intents"))
    back = Registry(tmp_path / "back")
    list(copy_adapter(open_store(PLACE), back.store, "support/intents"))
    for key in folder.store.keys("support"):
        if not key.endswith(("/claim.json", "/version.json")):  # a copy has its own claims
            assert back.store.get(key) == folder.store.get(key), key
    assert [(version.version, version.digest, version.is_yanked) for version in back.versions("support/intents")] == [
        (version.version, version.digest, version.is_yanked) for version in folder.versions("support/intents")]


def test_policy_holds_for_the_whole_organisation(hub: HubServer, tmp_path: Path) -> None:
    change_policy(open_store(PLACE), PolicyRecord(quotas={"support": 10}), at="now", by="ann")
    assert read_policy(open_store(PLACE)).quotas == {"support": 10}
    with pytest.raises(Exception, match="its quota is 10"):
        publish(PLACE, tmp_path, 1)
    assert Registry(PLACE).list() == []


def test_moves_are_watched(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 1)
    store = open_store(PLACE)
    seen = positions(store)
    Registry(PLACE).promote("support/intents@1", "production")
    assert [(move.alias, move.number) for move in moves_since(open_store(PLACE), seen)] == [("production", 1)]


def test_store_keeps_the_promise_of_every_store(hub: HubServer) -> None:
    store = open_store(PLACE)
    assert (store.get("a/b/aliases/x/1.json"), store.keys("a/b"), store.folders("a/b")) == (None, [], [])
    assert store.create("a/b/aliases/x/1.json", b"first")
    assert not store.create("a/b/aliases/x/1.json", b"second")
    assert store.get("a/b/aliases/x/1.json") == b"first"
    assert [store.exists(key) for key in ("a/b/aliases/x/1.json", "a/b/aliases/x", "a/b/aliases/x/2.json")] == [
        True, False, False]
    for key in ("a/b/gates/x/1.json", "a/b/aliases/x/2.json", ".policy/1.json"):
        store.create(key, b"12")
    assert store.keys("a/b/aliases") == ["a/b/aliases/x/1.json", "a/b/aliases/x/2.json"]
    assert store.keys("") == [".policy/1.json", "a/b/aliases/x/1.json", "a/b/aliases/x/2.json", "a/b/gates/x/1.json"]
    assert [(entry.key, entry.size_bytes) for entry in store.entries("a/b/gates")] == [("a/b/gates/x/1.json", 2)]
    assert abs(datetime.now(UTC) - store.entries("a/b/gates")[0].modified_at) < timedelta(minutes=1)
    assert [store.folders(prefix) for prefix in ("", "a", "a/b", "a/b/aliases", "b")] == [
        ["a"], ["b"], ["aliases", "gates"], ["x"], []]
    store.delete("a/b/gates/x/1.json")
    store.delete("a/b/gates/x/1.json")
    assert store.folders("a/b") == ["aliases"]
    with pytest.raises(StorageError, match="leaves the registry"):
        store.create("a/b/../x", b"")


def test_publishers_at_once_get_contiguous_versions_and_main_shows_the_last(hub: HubServer, tmp_path: Path) -> None:
    folders = [write_adapter_folder(tmp_path / str(seed), seed=seed) for seed in range(8)]
    shared = Registry(PLACE)  # half of them share one place, half have their own
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: (shared if number % 2 else Registry(PLACE)).publish(
            folders[number], "support/intents").version, range(8)))
    versions = Registry(PLACE).versions("support/intents")
    assert sorted(got) == [version.version for version in versions] == list(range(1, 9))
    for number, version in zip(got, folders, strict=True):
        read = Registry(PLACE).read(f"support/intents@{number}")
        assert read.files == {name: (version / name).read_bytes() for name in FOLDER_FILES}
    assert shown(hub) == shown(hub, "v8")


def test_promotions_at_once_leave_one_order_of_history(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 4)
    with ThreadPoolExecutor(4) as pool:
        moves = list(pool.map(lambda number: Registry(PLACE).promote(f"support/intents@{number}", "production"),
                              range(1, 5)))
    history = Registry(PLACE).history("support/intents@production")
    assert sorted(move.number for move in moves) == [move.number for move in history] == [1, 2, 3, 4]
    assert [move.previous for move in history] == [None, *(move.version for move in history[:-1])]
    tags = hub.repos[REPO].tags
    assert tags["production"] == tags[f"v{history[-1].version}"]


def test_publisher_that_dies_at_any_request_leaves_nothing_visible(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 1)
    folder, outcomes = write_adapter_folder(tmp_path / "next", seed=77), set()
    for n_requests in range(1, 120):
        hub.requests_left = n_requests
        try:
            is_done = Registry(PLACE).publish(folder, "support/intents") is not None
        except StorageError:
            is_done = False
        hub.requests_left = None
        versions = Registry(PLACE).versions("support/intents")
        outcomes.add((is_done, len(versions)))
        assert all(Registry(PLACE).verify(version) for version in versions)
        if is_done:
            break
    assert outcomes >= {(False, 1), (True, 2)}
    assert shown(hub) == (folder / CARD_FILE).read_bytes()


def test_promoter_that_dies_at_any_request_leaves_the_alias_before_or_after(hub: HubServer, tmp_path: Path) -> None:
    publish(PLACE, tmp_path, 2)
    Registry(PLACE).promote("support/intents@1", "production")
    meant = []
    for n_requests in range(1, 40):
        hub.requests_left = n_requests
        try:
            is_done = Registry(PLACE).promote("support/intents@2", "production") is not None
        except StorageError:
            is_done = False
        hub.requests_left = None
        meant.append(Registry(PLACE).resolve("support/intents@production").version)
        if is_done:
            break
    assert is_done
    assert meant == sorted(meant)
    assert set(meant) == {1, 2}
    assert [move.version for move in Registry(PLACE).history("support/intents@production")] == [1, 2]


def test_sweep_takes_away_what_a_dead_publisher_left(hub: HubServer, tmp_path: Path) -> None:
    first, = publish(PLACE, tmp_path, 1)
    second, repo, store = write_adapter_folder(tmp_path / "next", seed=5), hub.repos[REPO], open_store(PLACE)
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    store.create("support/intents/versions/2/claim.json", b"{}")
    store.create_files("support/intents/versions/2", {name: (second / name).read_bytes() for name in FOLDER_FILES})
    assert shown(hub) == (second / CARD_FILE).read_bytes()
    assert find_remains(open_store(PLACE), now=datetime.now(UTC)) == []
    found = find_remains(open_store(PLACE), now=in_two_days)
    assert [(part.what, len(part.entries)) for part in found] == [("support/intents@2", 5)]
    sweep(open_store(PLACE), found)
    assert (find_remains(open_store(PLACE), now=in_two_days), sorted(repo.tags)) == ([], ["v1"])
    assert shown(hub) == (first / CARD_FILE).read_bytes()
    assert Registry(PLACE).publish(second, "support/intents").version == 2


def test_sweep_that_dies_at_any_request_leaves_what_the_next_one_finds(hub: HubServer, tmp_path: Path) -> None:
    first, = publish(PLACE, tmp_path, 1)
    second, repo, store = write_adapter_folder(tmp_path / "next", seed=5), hub.repos[REPO], open_store(PLACE)
    in_two_days, is_done = datetime.now(UTC) + timedelta(days=2), False
    for n_requests in range(0, 60, 3):
        store.create("support/intents/versions/2/claim.json", b"{}")
        store.create_files("support/intents/versions/2", {name: (second / name).read_bytes() for name in FOLDER_FILES})
        found = find_remains(open_store(PLACE), now=in_two_days)
        hub.requests_left = n_requests
        try:
            is_done = sweep(open_store(PLACE), found) > 0
        except StorageError:
            is_done = False
        hub.requests_left = None
        sweep(open_store(PLACE), find_remains(open_store(PLACE), now=in_two_days))
        assert sorted(repo.tags) == ["v1"]
        assert shown(hub) == (first / CARD_FILE).read_bytes()
        if is_done:
            break
    assert is_done


@pytest.mark.parametrize("path", ["a/b", "support/intents-2", "a.b/c_d", "a-b/c.d", f"a/{'n' * 64}"])
def test_name_of_a_repo_leads_back_to_its_adapter(path: str) -> None:
    name = repo_name(path)
    assert name
    assert path_of(name) == path
    spot = spot_of(f"{path}/versions/3/adapter_config.json")
    assert spot
    assert (spot.repo, spot.version, spot.file) == (name, 3, "adapter_config.json")


@pytest.mark.parametrize("path", ["a/b__c", "a--b/c", "a/b.git", f"{'m' * 40}/{'n' * 60}"])
def test_name_without_room_on_the_hub_is_absent_and_not_published(hub: HubServer, tmp_path: Path, path: str) -> None:
    with pytest.raises(AdapterNotFound):
        Registry(PLACE).resolve(path)
    with pytest.raises(InvalidReference, match="has no room on the Hub"):
        publish(PLACE, tmp_path, 1, path)
    assert hub.repos == {}


@pytest.mark.parametrize("name", ["a", "support__intents__x", "Support__intents", "support--intents"])
def test_other_repos_are_no_adapters(name: str) -> None:
    assert path_of(name) is None
