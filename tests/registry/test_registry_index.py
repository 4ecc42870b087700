"""The index finds what the registry holds, keeps up with each change, and may be thrown away at any time."""

import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from adapter_folders import Corruption, write_adapter_folder

from adapterhub.adapter.manifest import Metric
from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.registry import Registries, Registry
from adapterhub.registry.find import Filters, Room, find, fitting
from adapterhub.registry.index import SearchIndex, index_file
from adapterhub.registry.policy import used_bytes
from adapterhub.registry.search_all import search_all


def write(place: Path, seed: int, *, accuracy: float, revision: str | None = None, card: str = "",
          labels: tuple[str, ...] = ("card", "loan")) -> Path:
    def facts(manifest):  # type: ignore[no-untyped-def]  # a Manifest to a Manifest
        return replace(manifest, base=replace(manifest.base, id="org/base", revision=revision),
                       metrics=[Metric(name="accuracy", split="test", value=accuracy, n_rows=9)])
    return write_adapter_folder(place, seed=seed, labels=labels, card=card, corruption=Corruption(manifest=facts))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    days = iter(range(1, 29))
    registry = Registry(tmp_path / "registry", clock=lambda: datetime(2026, 1, next(days), tzinfo=UTC))
    registry.publish(write(tmp_path / "1", 1, accuracy=0.9, revision="r1", card="# Für Zürich: bänking"), "a/bank")
    registry.publish(write(tmp_path / "2", 2, accuracy=0.7, revision="r2", labels=("Sport", "rest", "x")), "a/news")
    registry.publish(write(tmp_path / "3", 3, accuracy=0.8), "b/other")
    registry.promote("a/bank@1", "production")
    return registry


@pytest.fixture
def index(registry: Registry, tmp_path: Path) -> SearchIndex:
    index = SearchIndex(registry.store, index_file(tmp_path / "cache", registry.store))
    index.refresh()
    return index


@pytest.mark.parametrize(("filters", "found"), [
    (Filters(), ["a/bank", "a/news", "b/other"]),
    (Filters(text="zurich BANKING"), ["a/bank"]),
    (Filters(text="new"), ["a/news"]),
    (Filters(text='" OR 1 --'), []),
    (Filters(text="bank sport"), []),
    (Filters(task="token-classification"), []),
    (Filters(task="text-classification", labels=("sport",)), ["a/news"]),
    (Filters(labels=("card", "loan")), ["a/bank", "b/other"]),
    (Filters(base="ORG/base"), ["a/bank", "a/news", "b/other"]),
    (Filters(base="ffffff"), ["a/bank", "a/news", "b/other"]),
    (Filters(base="fff"), []),
    (Filters(method="lora", max_rank=2), ["a/bank", "a/news", "b/other"]),
    (Filters(max_rank=1), []),
    (Filters(max_size_bytes=10), []),
    (Filters(min_metrics=(("accuracy", 0.8),)), ["a/bank", "b/other"]),
    (Filters(alias="production"), ["a/bank"]),
    (Filters(not_base_revision=("org/base", "r1")), ["a/news", "b/other"]),
    (Filters(not_promoted_since="2026-01-03T00:00:00+00:00"), ["a/news"]),
    (Filters(sort="newest"), ["b/other", "a/news", "a/bank"]),
    (Filters(limit=1, offset=1), ["a/news"]),
])
def test_filter_finds_exactly_what_fits(filters: Filters, found: list[str], index: SearchIndex,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(find(index, filters).paths) == found
    monkeypatch.setattr("adapterhub.registry.find._MANY", -1)
    assert list(find(index, filters).paths) == found, "the way for many hits finds the same"


def test_page_knows_the_total(index: SearchIndex) -> None:
    assert find(index, Filters(limit=2)).total == 3


def test_unknown_order_and_empty_page_are_refused() -> None:
    with pytest.raises(UnknownName, match="order 'nme'"):
        Filters(sort="nme")
    with pytest.raises(InvalidConfig, match="limit is 0"):
        Filters(limit=0)


def test_fleet_that_fits_slots_rank_and_bytes_is_told(registry: Registry, index: SearchIndex) -> None:
    one = used_bytes(registry.store, "b")
    assert len(fitting(index, Room(n_slots=2, max_rank=8, size_bytes=10**9), Filters()).paths) == 2
    assert fitting(index, Room(n_slots=9, max_rank=1, size_bytes=10**9), Filters()).paths == ()
    assert len(fitting(index, Room(n_slots=9, max_rank=8, size_bytes=one + 10), Filters()).paths) == 1


@pytest.mark.parametrize("sort", ["name", "newest", "size", "rank"])
def test_pages_of_two_registries_follow_one_order_and_hide_namesakes(sort: str, tmp_path: Path) -> None:
    own, shipped = (Registry(tmp_path / name, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)) for name in ("own", "x"))
    for number, (registry, path) in enumerate([(own, "a/c"), (own, "a/a"), (shipped, "a/b"), (shipped, "a/d"),
                                               (shipped, "a/a")]):
        registry.publish(write(tmp_path / f"f{number}", number, accuracy=0.5), path)
    registries = Registries(own, shipped)
    pages = [search_all(registries, Filters(sort=sort, limit=2, offset=offset), tmp_path / "cache")
             for offset in (0, 2, 4)]
    found = [(listing.path, listing.version.place) for page in pages for listing in page.listings]
    assert found == [("a/a", own.where), ("a/b", shipped.where), ("a/c", own.where), ("a/d", shipped.where)]
    assert {page.total for page in pages} == {4}


def aged(registry: Registry) -> None:
    """Let everything be some time ago, as it is on the day after."""
    for folder, _, _ in os.walk(registry.where):
        facts = Path(folder).stat()
        os.utime(folder, ns=(facts.st_atime_ns, facts.st_mtime_ns - 10**11))


def test_unchanged_registry_is_not_read_again(registry: Registry, index: SearchIndex) -> None:
    aged(registry)
    index.refresh()
    assert index.refresh() == 0


def test_each_change_is_seen_by_the_next_refresh(registry: Registry, index: SearchIndex, tmp_path: Path) -> None:
    aged(registry)
    index.refresh()
    registry.publish(write(tmp_path / "4", 4, accuracy=0.99), "a/news")
    assert index.refresh() == 1
    assert find(index, Filters(min_metrics=(("accuracy", 0.95),))).paths == ("a/news",)
    registry.promote("b/other@1", "production")
    index.refresh()
    assert find(index, Filters(alias="production")).paths == ("a/bank", "b/other")
    registry.yank("a/news@2", "wrong")
    index.refresh()
    assert find(index, Filters(min_metrics=(("accuracy", 0.95),))).paths == ()
    registry.yank("a/news@1", "wrong too")
    index.refresh()
    assert find(index, Filters()).paths == ("a/bank", "b/other")


def test_change_within_the_clocks_tick_is_seen(registry: Registry, index: SearchIndex, tmp_path: Path) -> None:
    folder = tmp_path / "registry/b/other/versions"
    facts = folder.stat()
    registry.publish(write(tmp_path / "4", 4, accuracy=0.99), "b/other")
    os.utime(folder, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    index.refresh()
    assert find(index, Filters(min_metrics=(("accuracy", 0.95),))).paths == ("b/other",)


@pytest.mark.parametrize("change", ["version", "yank", "alias", "move"])
def test_change_right_after_a_refresh_within_the_same_tick_is_seen(change: str, registry: Registry,
                                                                  index: SearchIndex, tmp_path: Path) -> None:
    registry.publish(write(tmp_path / "n1", 21, accuracy=0.2), "a/bank")
    folder = Path(registry.where) / "a/bank"
    now = time.time_ns()
    one_tick(folder, now)
    index.refresh()
    if change == "version":
        registry.publish(write(tmp_path / "n2", 22, accuracy=0.1), "a/bank")
    elif change == "yank":
        registry.yank("a/bank@2", "wrong labels")
    else:
        registry.promote("a/bank@2", "staging" if change == "alias" else "production")
    one_tick(folder, now)
    assert index.refresh() >= 1
    row = index.connection.execute("SELECT id, version FROM adapter WHERE path = 'a/bank'").fetchone()
    aliases = dict(index.connection.execute("SELECT name, version FROM alias WHERE adapter = ?", (row[0],)))
    assert row[1] == {"version": 3, "yank": 1}.get(change, 2)
    assert aliases == {"production": 2 if change == "move" else 1, **({"staging": 2} if change == "alias" else {})}


@pytest.mark.parametrize("change", ["version", "yank", "alias", "move"])
def test_change_to_an_adapter_whose_names_are_remembered_is_seen(change: str, registry: Registry,
                                                                index: SearchIndex, tmp_path: Path) -> None:
    registry.publish(write(tmp_path / "n1", 21, accuracy=0.2), "a/bank")
    aged(registry)
    index.refresh()
    assert index.refresh() == 0
    if change == "version":
        registry.publish(write(tmp_path / "n2", 22, accuracy=0.1), "a/bank")
    elif change == "yank":
        registry.yank("a/bank@2", "wrong labels")
    else:
        registry.promote("a/bank@2", "staging" if change == "alias" else "production")
    assert index.refresh() == 1
    again = SearchIndex(registry.store, tmp_path / "again.sqlite")
    again.refresh()
    facts = ("SELECT path, adapter.version, name, alias.version FROM adapter "
             "LEFT JOIN alias ON adapter = adapter.id ORDER BY path, name")
    assert index.connection.execute(facts).fetchall() == again.connection.execute(facts).fetchall()


def test_refresh_lists_no_folder_of_an_unchanged_adapter(registry: Registry, index: SearchIndex,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    aged(registry)
    index.refresh()
    monkeypatch.setattr("adapterhub.registry.index._names", lambda folder: pytest.fail(f"{folder} was listed"))
    assert index.refresh() == 0


def one_tick(folder: Path, now_ns: int) -> None:
    """Give all below a folder one time, as a coarse clock of a file system would."""
    for place, _, _ in os.walk(folder):
        os.utime(place, ns=(now_ns, now_ns))


def test_index_made_anew_says_the_same(registry: Registry, index: SearchIndex, tmp_path: Path) -> None:
    anew = SearchIndex(registry.store, tmp_path / "elsewhere.sqlite")
    anew.refresh()
    assert find(anew, Filters(text="loan")) == find(index, Filters(text="loan"))


def test_damaged_index_is_made_anew(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 100)
    index = SearchIndex(registry.store, tmp_path / "index.sqlite")
    index.refresh()
    assert find(index, Filters()).total == 3


def test_damaged_adapter_does_not_hide_the_others(registry: Registry, tmp_path: Path,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "registry/a/bank/versions/1/adapterhub.json").write_text("{}")
    index = SearchIndex(registry.store, tmp_path / "index.sqlite")
    index.refresh()
    assert find(index, Filters()).paths == ("a/news", "b/other")
    assert "a/bank" in caplog.text


def test_bucket_is_indexed_and_kept_up_with(bucket: str, tmp_path: Path) -> None:
    registry = Registry(bucket)
    registry.publish(write(tmp_path / "1", 1, accuracy=0.9), "a/bank")
    index = SearchIndex(registry.store, tmp_path / "index.sqlite")
    assert (index.refresh(), index.refresh()) == (1, 0)
    registry.promote("a/bank@1", "production")
    assert index.refresh() == 1
    assert find(index, Filters(alias="production")).paths == ("a/bank",)


def test_refresh_waits_for_another_that_writes(registry: Registry, index: SearchIndex, tmp_path: Path) -> None:
    registry.publish(write(tmp_path / "n1", 21, accuracy=0.2), "a/bank")
    index.connection.execute("BEGIN IMMEDIATE")  # as a refresh of another process begins
    found: list[int] = []

    def refresh() -> None:
        other = SearchIndex(registry.store, index_file(tmp_path / "cache", registry.store))
        found.append(other.refresh())
        other.close()
    thread = threading.Thread(target=refresh)
    thread.start()
    time.sleep(0.2)
    assert not found
    index.connection.commit()
    thread.join(30)
    assert len(found) == 1
    assert found[0] >= 1  # those that changed just now are read again


def test_name_that_is_no_text_does_not_end_the_search(registry: Registry, index: SearchIndex) -> None:
    os.mkdir(os.fsencode(f"{registry.where}/a/bank/versions/") + b"\xff")  # noqa: PTH102  # no Path holds this name
    index.refresh()
    assert find(index, Filters(text="bank")).paths
