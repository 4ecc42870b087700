"""Published versions are whole, immutable and numbered without loss, whatever happens meanwhile."""

import errno
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from adapter_folders import Corruption, edit_manifest, names_in, write_adapter_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_workers import count_steps, in_clean_process, publish_killed

from adapterhub.adapter.folder import FOLDER_FILES
from adapterhub.adapter.plain_text import made_harmless
from adapterhub.errors import (
    AdapterNotFound,
    DataError,
    InvalidConfig,
    InvalidFolder,
    InvalidReference,
    StorageError,
    VersionExists,
)
from adapterhub.registry import Registry
from adapterhub.registry.stores import open_store


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", clock=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_published_version_states_its_facts(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    version = registry.publish(folder, "support/intents")
    assert (version.reference, version.is_new, version.is_yanked) == ("support/intents@1", True, False)
    assert version.published_at == "2026-01-02T03:04:05+00:00"
    assert version.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert version.pinned == f"support/intents@sha256:{version.digest}"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), labels=st.lists(st.text(st.characters(codec="utf-8"), max_size=9), unique=True,
                                                   max_size=5), card=st.text(max_size=40).map(made_harmless))
def test_publish_then_read_gives_the_same_bytes(seed: int, labels: list[str], card: str,
                                                tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("same")
    folder = write_adapter_folder(place / "a", seed=seed, labels=labels, card=card)
    registry = Registry("memory://")
    registry.publish(folder, "a/b")
    assert registry.read("a/b").files == {name: (folder / name).read_bytes() for name in FOLDER_FILES}


def test_version_folder_holds_the_four_files_and_two_records(registry: Registry, tmp_path: Path) -> None:
    registry.publish(write_adapter_folder(tmp_path / "a"), "support/intents")
    path = registry.local_path("support/intents")
    assert path == tmp_path / "registry/support/intents/versions/1"
    assert names_in(path) == sorted([*FOLDER_FILES, "claim.json", "version.json"])


def test_same_content_makes_no_new_version(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    first, again = registry.publish(folder, "a/b"), registry.publish(folder, "a/b")
    assert (again.version, again.digest, again.is_new) == (1, first.digest, False)
    assert len(registry.versions("a/b")) == 1


def test_older_content_published_again_is_a_new_version(registry: Registry, tmp_path: Path) -> None:
    first, second = (write_adapter_folder(tmp_path / str(seed), seed=seed) for seed in range(2))
    for folder in (first, second, first):
        registry.publish(folder, "a/b")
    assert [version.version for version in registry.versions("a/b")] == [1, 2, 3]


def test_demanded_number_that_is_taken_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    registry.publish(folder, "a/b", version=3)
    with pytest.raises(VersionExists, match=r"a/b@3 is taken.*Publish it as version 4"):
        registry.publish(folder, "a/b", version=3)


def test_next_version_follows_a_demanded_one(registry: Registry, tmp_path: Path) -> None:
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b", version=7)
    assert registry.publish(write_adapter_folder(tmp_path / "b", seed=1), "a/b").version == 8


def test_demanded_number_below_one_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="version is 0"):
        registry.publish(write_adapter_folder(tmp_path / "a"), "a/b", version=0)


@pytest.mark.parametrize("path", ["../a/b", "a/..", "/a/b", "A/b", "a/b@3", "a/b@x", "a/" + "b" * 99, "a/b\n",
                                  "a/\u0456ntents", "a", ""])
def test_hostile_name_is_refused_before_anything_is_written(path: str, registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    with pytest.raises(InvalidReference):
        registry.publish(folder, path)
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "adapter_model.bin").write_bytes(b"x"),
    lambda folder: (folder / "README.md").unlink(),
    lambda folder: (folder / "README.md").write_text("changed"),
    lambda folder: edit_manifest(folder, files={"../x": {"sha256": "0" * 64, "size_bytes": 1}}),
    lambda folder: (folder / "link").symlink_to("/etc/passwd"),
])
def test_refused_folder_leaves_no_registry_behind(spoil, registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    spoil(folder)
    with pytest.raises(InvalidFolder):
        registry.publish(folder, "a/b")
    assert not (tmp_path / "registry").exists()


def test_faulty_tensors_are_refused_at_publishing(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a", corruption=Corruption(tensors=lambda tensors: {
        name: array * 0 for name, array in tensors.items()}))
    with pytest.raises(InvalidFolder, match="every lora_B is zero"):
        registry.publish(folder, "a/b")


def test_absent_folder_is_named(registry: Registry) -> None:
    with pytest.raises(DataError, match="No such adapter folder: nowhere"):
        registry.publish("nowhere", "a/b")


def test_reading_an_absent_place_finds_nothing_and_creates_nothing(registry: Registry, tmp_path: Path) -> None:
    assert registry.list() == []
    assert registry.paths() == ()
    with pytest.raises(AdapterNotFound):
        registry.resolve("a/b")
    assert names_in(tmp_path) == []


def test_publisher_killed_before_any_step_leaves_nothing_or_all(tmp_path: Path) -> None:
    folder, place = str(write_adapter_folder(tmp_path / "a")), str(tmp_path / "registry")
    steps = in_clean_process(count_steps, [(str(tmp_path / "whole"), folder, "a/b")])[0]
    in_clean_process(publish_killed, [(place, folder, f"a/b{step}", step) for step in range(steps)])
    registry = Registry(place)
    seen = [registry.versions(f"a/b{step}") for step in range(steps)]
    is_visible = [bool(versions) for versions in seen]
    assert steps > 24
    assert is_visible == sorted(is_visible), "invisible up to one step, visible from there"
    assert is_visible.count(False) > 20
    assert all(registry.verify(version) for versions in seen for version in versions)
    again = [registry.publish(folder, f"a/b{step}") for step in range(steps)]
    assert all(registry.verify(version) for version in again)
    assert [version.is_new for version in again] == [not visible for visible in is_visible]


@pytest.mark.parametrize("failing", range(6))
def test_full_disk_is_told_and_leaves_nothing_visible(failing: int, registry: Registry, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    real, calls = os.write, iter(range(100))

    def write(handle: int, data: bytes) -> int:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageError, match="No space left on the device"):
        registry.publish(folder, "a/b")
    assert registry.versions("a/b") == []
    assert registry.publish(folder, "a/b").is_new


def test_file_size_limit_of_the_system_is_told_and_leaves_nothing_visible(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a", card="x" * 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            registry.publish(folder, "a/b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert registry.list() == []
    assert names_in(tmp_path / "registry/.staged") == []


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own is private."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    place.chmod(0o755)
    shutil.rmtree(place)


def test_read_only_place_is_told(public_place: Path) -> None:
    folder = write_adapter_folder(public_place / "a")
    public_place.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write anywhere
    try:
        with pytest.raises(StorageError, match=r"Permission denied.*Choose a place you may use"):
            Registry(public_place / "registry").publish(folder, "a/b")
    finally:
        os.seteuid(user)
    assert names_in(public_place) == ["a"]


def test_place_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is a file, not the folder of a registry"):
        Registry(tmp_path / "file").list()


def test_bytes_are_synced_before_the_version_appears(registry: Registry, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    visible_while_syncing_files = []
    real = os.fsync

    def fsync(handle: int) -> None:
        is_visible = (tmp_path / "registry/a/b/versions/1/version.json").exists()
        visible_while_syncing_files.append((is_visible, stat.S_ISDIR(os.fstat(handle).st_mode)))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")
    files = [is_visible for is_visible, is_folder in visible_while_syncing_files if not is_folder]
    assert files == [False] * 6
    assert visible_while_syncing_files[-1] == (True, True), "the folder of version.json is synced last"


def test_repeated_put_after_a_lost_answer_meets_its_own_bytes(tmp_path: Path) -> None:
    store = open_store("memory://")

    class LosesAnswers(type(store)):
        def create(self, key: str, data: bytes) -> bool:
            return super().create(key, data) and super().create(key, data)

    store.__class__ = LosesAnswers
    assert Registry(store).publish(write_adapter_folder(tmp_path / "a"), "a/b").version == 1
