"""Under fire nothing is lost: many at once, killed at any instant, disks that are full or may not be written."""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path

import fire
import pytest
from adapter_folders import names_in, write_adapter_folder

from adapterhub.adapter.folder import FOLDER_FILES, read_folder
from adapterhub.errors import StorageError
from adapterhub.registry import Registry
from adapterhub.registry.copying import copy_adapter
from adapterhub.registry.policy import change_policy, claimed_bytes, used_bytes
from adapterhub.registry.records import PolicyRecord
from adapterhub.registry.stores import Store, open_store
from adapterhub.registry.sweep import find_remains, sweep

N_PUBLISHERS, N_PROMOTERS, N_KILLS = 64, 16, 50
"""Fifty kills for each of publish, promote, copy and pull."""
LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture(scope="module")
def clean_process() -> Iterator[Pool]:
    """One fresh process that has used no bucket and has one thread: a safe and warm parent of forks."""
    with get_context("spawn").Pool(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("folders")
    return [str(write_adapter_folder(place / str(seed), seed=seed)) for seed in range(N_PUBLISHERS)]


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "registry") if request.param == "local" else request.getfixturevalue("bucket")


@pytest.mark.timeout(240)
def test_64_publishers_and_16_promoters_at_once_lose_nothing(place: str, folders: list[str],
                                                             clean_process: Pool) -> None:
    got = clean_process.apply(fire.at_once, ("publish", [(place, folder, "a/b") for folder in folders],
                                               dict(os.environ)))
    registry = Registry(place)
    versions = registry.versions("a/b")
    assert sorted(map(str, got)) == sorted(str(version.version) for version in versions)
    assert [version.version for version in versions] == list(range(1, N_PUBLISHERS + 1))
    assert {version.digest for version in versions} == {read_folder(Path(folder)).digest for folder in folders}
    wishes = [(place, f"a/b@{number}", "production") for number in range(1, N_PROMOTERS + 1)]
    moves = clean_process.apply(fire.at_once, ("promote", wishes, dict(os.environ)))
    history = registry.history("a/b@production")
    assert sorted(map(str, moves)) == sorted(str(move.number) for move in history)
    assert [move.number for move in history] == list(range(1, N_PROMOTERS + 1))
    assert [move.previous for move in history] == [None, *(move.version for move in history[:-1])]
    assert sorted(move.version for move in history) == list(range(1, N_PROMOTERS + 1))
    assert registry.resolve("a/b@production").version == history[-1].version


def test_publishers_at_once_never_pass_a_quota(tmp_path: Path, folders: list[str], clean_process: Pool) -> None:
    registry = Registry(tmp_path / "registry")
    registry.publish(folders[0], "a/b")
    size = used_bytes(registry.store, "a")
    change_policy(registry.store, PolicyRecord(quotas={"a": 4 * size + 500}), at="now", by="anna")
    calls = [(registry.where, folder, f"a/b{i % 4}") for i, folder in enumerate(folders[1:17])]
    got = clean_process.apply(fire.at_once, ("publish", calls, dict(os.environ)))
    assert {str(answer).partition(":")[0] for answer in got} <= {"1", "2", "3", "4", "PolicyRefused"}
    assert used_bytes(registry.store, "a") <= 4 * size + 500
    assert claimed_bytes(registry.store, "a") == 0
    left = 3 - sum(isinstance(answer, int) for answer in got)
    assert all(registry.publish(folder, "a/later").is_new for folder in folders[20:20 + left])


def require_whole(place: Path) -> Registry:
    """Everything that can be seen of a registry must be whole."""
    registry = Registry(place)
    for path in registry.paths():
        assert all(registry.verify(version) for version in registry.versions(path))
        for alias in registry.aliases(path):
            moves = registry.history(f"{path}@{alias}")
            assert [move.number for move in moves] == list(range(1, len(moves) + 1))
            assert registry.resolve(f"{path}@{alias}").digest == moves[-1].digest
    return registry


def require_swept_clean(registry: Registry) -> None:
    """A sweep must find all that is not part of something visible, and leave the rest."""
    sweep(registry.store, find_remains(registry.store, now=LATER))
    expected = {f"{version.path}/versions/{version.version}/{name}" for path in registry.paths()
                for version in registry.versions(path) for name in (*FOLDER_FILES, "claim.json", "version.json")}
    assert {key for key in registry.store.keys("") if "/aliases/" not in key} == expected
    require_whole(Path(registry.where))


def test_publishers_killed_at_any_instant_leave_whole_versions_or_none(tmp_path: Path, folders: list[str],
                                                                       clean_process: Pool) -> None:
    place = str(tmp_path / "registry")
    calls = [(place, folder, "a/b") for folder in folders[:N_KILLS]]
    n_killed = clean_process.apply(fire.killed, ("publish", calls, 0))
    registry = require_whole(tmp_path / "registry")
    assert n_killed >= N_KILLS // 4, "the instants must hit"
    before = len(registry.versions("a/b"))
    assert registry.publish(folders[0], "a/b", version=1000).is_new
    require_swept_clean(registry)
    assert len(registry.versions("a/b")) == before + 1


def test_promoters_killed_at_any_instant_leave_one_whole_history(tmp_path: Path, folders: list[str],
                                                                 clean_process: Pool) -> None:
    registry = Registry(tmp_path / "registry")
    for folder in folders[:2]:
        registry.publish(folder, "a/b")
    calls = [(registry.where, f"a/b@{1 + i % 2}", f"alias{i % 3}") for i in range(N_KILLS)]
    n_killed = clean_process.apply(fire.killed, ("promote", calls, 1))
    require_whole(tmp_path / "registry")
    assert n_killed >= N_KILLS // 4, "the instants must hit"
    assert registry.promote("a/b@1", "alias0").version == 1
    require_swept_clean(registry)


def test_copies_killed_at_any_instant_go_on_where_they_ended(tmp_path: Path, folders: list[str],
                                                             clean_process: Pool) -> None:
    source = Registry(tmp_path / "source")
    for folder in folders[:2]:
        source.promote(source.publish(folder, "a/b").reference, "production")
    calls = [(source.where, str(tmp_path / f"target{i % 25}"), "a/b") for i in range(N_KILLS)]
    n_killed = clean_process.apply(fire.killed, ("copy", calls, 2))
    assert n_killed >= N_KILLS // 4, "the instants must hit"
    for i in range(25):
        target = require_whole(tmp_path / f"target{i}")
        assert len(list(copy_adapter(source.store, target.store, "a/b"))) == 4
        assert target.history("a/b@production") == source.history("a/b@production")
        assert [target.verify(version).version.digest for version in target.versions("a/b")] == [
            version.digest for version in source.versions("a/b")]
        require_swept_clean(target)


def test_pulls_killed_at_any_instant_leave_a_whole_folder_or_none(tmp_path: Path, folders: list[str],
                                                                  clean_process: Pool) -> None:
    registry = Registry(tmp_path / "registry")
    registry.publish(folders[0], "a/b")
    targets = [tmp_path / "pulled" / str(i) for i in range(N_KILLS)]
    n_killed = clean_process.apply(fire.killed, ("pull", [(registry.where, "a/b", str(target)) for target in targets],
                                                 3))
    whole = [target for target in targets if target.exists()]
    assert all(read_folder(target).digest == registry.resolve("a/b").digest for target in whole)
    assert n_killed >= N_KILLS // 4, "the instants must hit"
    assert all(registry.pull("a/b", target) for target in targets if target not in whole)
    require_swept_clean(registry)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 kB: room for a few adapters."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False,
                                       capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small disk; faults at each write are injected in any case")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_disk_that_runs_full_is_told_and_all_that_was_published_stays_whole(small_disk: Path,
                                                                           folders: list[str]) -> None:
    registry = Registry(small_disk / "registry")
    with pytest.raises(StorageError, match="No space left on the device"):
        for folder in folders:
            registry.publish(folder, "a/b")
    with pytest.raises(StorageError, match="No space left on the device"):
        for number in range(1, 99):
            registry.promote("a/b@1", f"x{number}")
    require_whole(small_disk / "registry")
    n_versions = len(registry.versions("a/b"))
    assert n_versions > 1
    with pytest.raises(StorageError, match="No space left on the device"):
        registry.pull("a/b", small_disk / "pulled")
    assert not (small_disk / "pulled").exists()
    require_swept_clean(registry)
    assert len(registry.versions("a/b")) == n_versions


@pytest.fixture
def source(tmp_path: Path, folders: list[str]) -> Registry:
    source = Registry(tmp_path / "source")
    source.promote(source.publish(folders[0], "a/b").reference, "production")
    return source


def copied(source: Registry, place: Path, store: Store) -> None:
    list(copy_adapter(source.store, store, "a/b"))


def promoted(source: Registry, place: Path, store: Store) -> None:
    source.promote("a/b@1", "other")


def pulled(source: Registry, place: Path, store: Store) -> None:
    source.pull("a/b", place / "pulled")


Act = Callable[[Registry, Path, Store], None]


@pytest.mark.parametrize("act", [copied, promoted, pulled])
@pytest.mark.parametrize("step", [(os, "write"), (os, "link"), (os, "fsync"), (Path, "write_bytes"), (Path, "replace"),
                                  (Path, "mkdir")], ids=lambda step: step[1])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_each_kind_of_write_may_fail_at_any_time(act: Act, step: tuple[object, str], number: int, source: Registry,
                                                 tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, (owner, name) = open_store(tmp_path / "target"), step
    real, n_failures = getattr(owner, name), 0
    for failing in range(100):
        calls = iter(range(1000))

        def fails(*arguments: object, calls: Iterator[int] = calls, at: int = failing, **options: object) -> object:
            nonlocal n_failures
            if next(calls) == at:
                n_failures += 1
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        before = n_failures
        monkeypatch.setattr(owner, name, fails)
        try:
            act(source, tmp_path, store)
        except StorageError as error:
            assert "\n" not in str(error)
            assert not (tmp_path / "pulled").exists()
            monkeypatch.undo()
            require_whole(tmp_path / "source")
            require_whole(tmp_path / "target")
            continue
        monkeypatch.undo()
        if n_failures == before:
            break  # it has no further step of this kind: it went through
    assert n_failures == failing
    require_whole(tmp_path / "source")
    require_whole(tmp_path / "target")


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own is private."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("act", [copied, promoted, pulled])
def test_place_that_may_only_be_read_is_told_and_stays_as_it_is(act: Act, public_place: Path,
                                                                folders: list[str]) -> None:
    source = Registry(public_place / "source")
    source.publish(folders[0], "a/b")
    before = {path: path.stat().st_mtime_ns for path in public_place.rglob("*")}
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write anywhere
    else:
        public_place.chmod(0o555)
    try:
        with pytest.raises(StorageError, match=r"Permission denied.*Choose a place you may use"):
            act(source, public_place, open_store(public_place / "target"))
    finally:
        os.seteuid(user)
        public_place.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in public_place.rglob("*")} == before
    assert names_in(public_place) == ["source"]
