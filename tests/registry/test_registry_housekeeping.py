"""Sweep, copy, backup, quotas and watching: in order, without ever touching what was published."""

import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder

from adapterhub.errors import AdapterNotFound, DataError, InvalidConfig, PolicyRefused, StorageError, VersionExists
from adapterhub.registry import Limits, Registry
from adapterhub.registry.backup import restore_backup, write_backup
from adapterhub.registry.copying import copy_adapter
from adapterhub.registry.policy import change_policy, read_policy, used_bytes
from adapterhub.registry.records import PolicyRecord
from adapterhub.registry.stores import open_store
from adapterhub.registry.sweep import find_remains, sweep
from adapterhub.registry.watch import moves_since, positions, watch

LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """support/intents with two versions, the first yanked, `production` moved twice, and a gate; news/topics."""
    registry = Registry(tmp_path / "registry", by="anna")
    for seed in range(2):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "support/intents")
        registry.promote(f"support/intents@{seed + 1}", "production")
    registry.yank("support/intents@1", "wrong labels")
    (tmp_path / "eval.jsonl").write_text("{}\n")
    registry.set_gate("support/intents", "staging", Limits(metric="accuracy", minimum=0.5), tmp_path / "eval.jsonl")
    registry.publish(write_adapter_folder(tmp_path / "news", seed=9), "news/topics")
    return registry


def objects(registry: Registry) -> dict[str, bytes | None]:
    return {key: registry.store.get(key) for key in registry.store.keys("") if not key.startswith(".staged/")}


def abandoned(registry: Registry) -> None:
    """Leave what a killed publisher leaves: a claim with one file, and a staged file."""
    registry.store.create("support/intents/versions/3/claim.json", b"{}")
    registry.store.create("support/intents/versions/3/README.md", b"half")
    (Path(registry.where) / ".staged" / "x").write_bytes(b"half a file")


def test_sweep_finds_the_remains_once_they_are_old_and_nothing_else(registry: Registry) -> None:
    whole = objects(registry)
    abandoned(registry)
    assert find_remains(registry.store, now=datetime.now(UTC)) == []
    remains = find_remains(registry.store, now=LATER)
    assert [(part.what, len(part.entries)) for part in remains] == [(".staged", 1), ("support/intents@3", 2)]
    assert sweep(registry.store, remains) == len(b"half a file") + len(b"{}") + len(b"half")
    assert objects(registry) == whole
    assert find_remains(registry.store, now=LATER) == []


def test_swept_number_is_given_again(registry: Registry, tmp_path: Path) -> None:
    abandoned(registry)
    sweep(registry.store, find_remains(registry.store, now=LATER))
    assert registry.publish(write_adapter_folder(tmp_path / "next", seed=5), "support/intents").version == 3


def test_publisher_that_was_swept_meanwhile_is_refused_and_nothing_is_visible(registry: Registry,
                                                                              tmp_path: Path) -> None:
    store = registry.store

    class SweptInBetween(type(store)):
        def create_files(self, folder, files):
            taken = super().create_files(folder, files)
            sweep(self, find_remains(self, now=LATER))
            return taken

    store.__class__ = SweptInBetween
    with pytest.raises(StorageError, match="was swept from"):
        registry.publish(write_adapter_folder(tmp_path / "next", seed=5), "support/intents")
    assert [version.version for version in registry.versions("support/intents")] == [1, 2]


def test_negative_age_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidConfig, match="expected 0 or more"):
        find_remains(registry.store, now=LATER, min_age=timedelta(hours=-1))


def test_copy_keeps_numbers_times_history_gates_and_yanks(registry: Registry, tmp_path: Path) -> None:
    other = Registry(tmp_path / "other")
    done = list(copy_adapter(registry.store, other.store, "support/intents"))
    assert all(part.is_new for part in done)
    mine, theirs = objects(registry), objects(other)
    claims = {f"support/intents/versions/{number}/{name}" for number in (1, 2) for name in ("claim.json",
                                                                                             "version.json")}
    assert {key: theirs[key] for key in theirs.keys() - claims} == {
        key: value for key, value in mine.items() if key.startswith("support/") and key not in claims}
    assert other.history("support/intents@production") == registry.history("support/intents@production")
    first, second = other.versions("support/intents")
    assert (first.is_yanked, second.is_yanked, second.published_by) == (True, False, "anna")
    assert [other.verify(version).version for version in (first, second)] == [first, second]


def test_copy_again_does_nothing_and_goes_on_where_it_was_killed(registry: Registry, tmp_path: Path) -> None:
    for stop_after in range(0, 30, 3):
        store = open_store(tmp_path / f"other{stop_after}")

        class Dies(type(store)):
            left = stop_after

            def create(self, key: str, data: bytes) -> bool:
                if self.left == 0:
                    raise StorageError("the network is gone")
                self.left -= 1
                return super().create(key, data)

        plain, store.__class__ = type(store), Dies
        try:
            list(copy_adapter(registry.store, store, "support/intents"))
        except StorageError:
            assert all(Registry(store).verify(version) for version in Registry(store).versions("support/intents"))
        store.__class__ = plain
        list(copy_adapter(registry.store, store, "support/intents"))
        assert not any(part.is_new for part in copy_adapter(registry.store, store, "support/intents"))
        assert len(Registry(store).versions("support/intents")) == 2


def test_copy_to_a_number_with_other_content_is_refused(registry: Registry, tmp_path: Path) -> None:
    other = Registry(tmp_path / "other")
    other.publish(write_adapter_folder(tmp_path / "x", seed=77), "support/intents")
    with pytest.raises(VersionExists, match=r"support/intents@1 is taken by other content.*Pull it"):
        list(copy_adapter(registry.store, other.store, "support/intents"))


def test_copy_of_histories_that_parted_is_refused(registry: Registry, tmp_path: Path) -> None:
    other = Registry(tmp_path / "other")
    list(copy_adapter(registry.store, other.store, "support/intents"))
    other.promote("support/intents@2", "beta", is_forced=True)
    registry.promote("support/intents@2", "beta")
    with pytest.raises(VersionExists, match="says something else"):
        list(copy_adapter(registry.store, other.store, "support/intents"))


def test_copy_goes_to_s3_and_back(registry: Registry, bucket: str, tmp_path: Path) -> None:
    away, home = Registry(bucket), Registry(tmp_path / "home")
    list(copy_adapter(registry.store, away.store, "support/intents"))
    list(copy_adapter(away.store, home.store, "support/intents"))
    assert home.read("support/intents").files == registry.read("support/intents").files


def test_backup_is_a_plain_archive_that_is_a_registry(registry: Registry, tmp_path: Path) -> None:
    count = write_backup(registry.store, tmp_path / "backup.tar")
    with tarfile.open(tmp_path / "backup.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert objects(Registry(tmp_path / "unpacked")) == objects(registry)
    assert count == len(objects(registry))


def test_restore_twice_gives_the_same_registry_and_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    count = write_backup(registry.store, tmp_path / "backup.tar")
    store = open_store("memory://")
    assert restore_backup(tmp_path / "backup.tar", store) == count
    assert restore_backup(tmp_path / "backup.tar", store) == 0
    assert Registry(store).resolve("support/intents@production").version == 2
    with pytest.raises(DataError, match="with other bytes than in the backup"):
        restore_backup(tmp_path / "backup.tar", Registry(_with_other_topics(tmp_path)).store)


def _with_other_topics(tmp_path: Path) -> Path:
    Registry(tmp_path / "else").publish(write_adapter_folder(tmp_path / "y", seed=4), "news/topics")
    return tmp_path / "else"


@pytest.mark.parametrize("name", ["absent.tar", "cut.tar", "text.tar"])
def test_what_is_no_backup_is_told(name: str, registry: Registry, tmp_path: Path) -> None:
    write_backup(registry.store, tmp_path / "whole.tar")
    data = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[:700])
    (tmp_path / "text.tar").write_text("no archive")
    with pytest.raises(DataError, match=r"No such backup|no whole backup"):
        restore_backup(tmp_path / name, open_store(tmp_path / "new"))


def test_backup_never_replaces_a_file(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "backup.tar").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        write_backup(registry.store, tmp_path / "backup.tar")
    assert (tmp_path / "backup.tar").read_text() == "mine"


def test_quota_of_a_namespace_is_kept_and_told_with_figures(registry: Registry, tmp_path: Path) -> None:
    used = used_bytes(registry.store, "support")
    change_policy(registry.store, PolicyRecord(quotas={"support": used + 10}), at="now", by="anna")
    folder = write_adapter_folder(tmp_path / "next", seed=5)
    with pytest.raises(PolicyRefused, match=rf"its quota is {used + 10:,} and {used:,} are used"):
        registry.publish(folder, "support/intents")
    assert len(registry.versions("support/intents")) == 2
    assert registry.publish(folder, "news/topics").is_new
    change_policy(registry.store, PolicyRecord(quotas={"support": 10**9}), at="now", by="anna")
    assert registry.publish(folder, "support/intents").version == 3
    assert read_policy(registry.store).by == "anna"


def test_quota_counts_what_others_have_claimed_and_not_published_yet(registry: Registry, tmp_path: Path) -> None:
    used = used_bytes(registry.store, "support")
    folders = [write_adapter_folder(tmp_path / f"next{seed}", seed=seed) for seed in (5, 6)]
    size = sum(path.stat().st_size for path in folders[0].iterdir())
    change_policy(registry.store, PolicyRecord(quotas={"support": used + size + 100}), at="now", by="anna")
    store = open_store(registry.where)
    refusals = []

    class OthersPublishMeanwhile(type(store)):
        def create_files(self, folder, files):
            with pytest.raises(PolicyRefused, match="more are claimed by uploads under way") as told:
                registry.publish(folders[1], "support/other")
            refusals.append(told)
            return super().create_files(folder, files)

    store.__class__ = OthersPublishMeanwhile
    assert Registry(store).publish(folders[0], "support/intents").is_new
    assert len(refusals) == 1
    assert registry.store.keys("support/other") == []


def test_who_finds_the_room_taken_after_claiming_gives_the_number_back(registry: Registry, tmp_path: Path) -> None:
    used = used_bytes(registry.store, "support")
    folders = [write_adapter_folder(tmp_path / f"next{seed}", seed=seed) for seed in (5, 6)]
    size = sum(path.stat().st_size for path in folders[0].iterdir())
    change_policy(registry.store, PolicyRecord(quotas={"support": used + size + 100}), at="now", by="anna")
    store = open_store(registry.where)

    class OthersPublishBeforeTheClaim(type(store)):
        def create(self, key: str, data: bytes) -> bool:
            if key == "support/intents/versions/3/claim.json" and not registry.has("support/other"):
                registry.publish(folders[1], "support/other")
            return super().create(key, data)

    store.__class__ = OthersPublishBeforeTheClaim
    with pytest.raises(PolicyRefused, match="its quota is"):
        Registry(store).publish(folders[0], "support/intents")
    assert registry.store.keys("support/intents/versions/3") == []
    assert used_bytes(registry.store, "support") <= used + size + 100


def test_watch_tells_each_move_once_in_order(registry: Registry) -> None:
    wishes = iter([(), (("support/intents@2", "beta"),), (("news/topics@1", "production"), ("news/topics@1", "beta"))])

    def act() -> None:
        for reference, alias in next(wishes):
            registry.promote(reference, alias)

    moves = watch(registry.store, act)
    told = [next(moves) for _ in range(3)]
    assert [(move.path, move.alias) for move in told] == [("support/intents", "beta"), ("news/topics", "beta"),
                                                          ("news/topics", "production")]


def test_moves_since_leaves_none_out(registry: Registry) -> None:
    seen = positions(registry.store)
    assert seen == {("support/intents", "production"): 2}
    registry.promote("news/topics@1", "production")
    assert [(move.path, move.number) for move in moves_since(registry.store, seen)] == [("news/topics", 1)]
    assert moves_since(registry.store, seen) == []


def test_what_served_at_a_time_is_told(tmp_path: Path) -> None:
    times = iter(datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 30))
    registry = Registry(tmp_path / "registry", clock=lambda: next(times))
    for seed in range(2):
        registry.publish(write_adapter_folder(tmp_path / str(seed), seed=seed), "a/b")
        registry.promote(f"a/b@{seed + 1}", "production")
    assert [registry.move_at("a/b@production", datetime(2026, 1, day, 12, tzinfo=UTC)).version
            for day in (2, 3, 4)] == [1, 1, 2]
    with pytest.raises(AdapterNotFound, match="it first moved at 2026-01-02"):
        registry.move_at("a/b@production", datetime(2026, 1, 1, tzinfo=UTC))
