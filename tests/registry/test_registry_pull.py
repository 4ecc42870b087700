"""What is read, pulled or verified is what was published, or it is refused."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from adapter_folders import base_shapes, names_in, write_adapter_folder

from adapterhub.adapter.folder import FOLDER_FILES, read_folder
from adapterhub.errors import AdapterHubError, BaseMismatch, DataError, InvalidFolder, StorageError
from adapterhub.registry import Registry
from adapterhub.settings import Settings


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.publish(write_adapter_folder(tmp_path / "a"), "a/b")
    return registry


@pytest.fixture
def version_folder(tmp_path: Path) -> Path:
    return tmp_path / "registry/a/b/versions/1"


def test_pulled_folder_holds_the_published_bytes(registry: Registry, tmp_path: Path) -> None:
    pulled = registry.pull("a/b", tmp_path / "copy")
    assert names_in(tmp_path / "copy") == sorted(FOLDER_FILES)
    assert pulled == read_folder(tmp_path / "copy")
    assert pulled.files == read_folder(tmp_path / "a").files


def test_pulled_folder_can_be_published_elsewhere_unchanged(registry: Registry, tmp_path: Path) -> None:
    registry.pull("a/b", tmp_path / "copy")
    assert Registry("memory://").publish(tmp_path / "copy", "x/y").digest == registry.resolve("a/b").digest


def test_version_folder_of_a_registry_is_itself_an_adapter_folder(registry: Registry, version_folder: Path) -> None:
    assert read_folder(version_folder).digest == registry.resolve("a/b").digest


def test_pull_into_a_folder_that_holds_something_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        registry.pull("a/b", tmp_path / "a")


def test_pull_of_a_changed_version_leaves_no_folder(registry: Registry, version_folder: Path, tmp_path: Path) -> None:
    (version_folder / "README.md").write_text("other words")
    with pytest.raises(InvalidFolder):
        registry.pull("a/b", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_pull_that_was_written_wrong_leaves_no_folder(registry: Registry, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: real(path, data[:-1] + b"?"))
    with pytest.raises(InvalidFolder):
        registry.pull("a/b", tmp_path / "copy")
    assert names_in(tmp_path) == ["a", "registry"]


def test_verification_says_what_it_checked_and_what_not(registry: Registry) -> None:
    alone, against_base = registry.verify("a/b"), registry.verify("a/b", base_shapes())
    assert alone.n_tensors == against_base.n_tensors == 6
    assert alone.not_checked == ("the tensors fit the base's modules", "the probe")
    assert against_base.checks == (*alone.checks, "the tensors fit the base's modules")


def test_verification_against_another_base_is_refused(registry: Registry) -> None:
    with pytest.raises(BaseMismatch):
        registry.verify("a/b", base_shapes(fingerprint="0" * 64))


def flips(path: Path) -> Iterator[None]:
    """Flip one bit in each of 64 regions of a file in turn, and leave it as it was."""
    data = path.read_bytes()
    regions = range(0, len(data), max(1, len(data) // 64))
    for number, place in enumerate((*regions, len(data) - 1)):
        path.unlink()
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << number % 8]) + data[place + 1:])
        yield
    path.write_bytes(data)


@pytest.mark.parametrize("name", [*FOLDER_FILES, "version.json"])
@pytest.mark.parametrize("act", [Registry.verify, Registry.read])
def test_every_flipped_region_of_every_file_is_found(act, name: str, registry: Registry, version_folder: Path) -> None:
    for _ in flips(version_folder / name):
        with pytest.raises(AdapterHubError):
            act(registry, "a/b@1")
    act(registry, "a/b@1")


@pytest.mark.parametrize("name", ["claim.json", "yanked.json"])
def test_every_flipped_region_of_a_record_beside_is_found_by_verifying(name: str, registry: Registry,
                                                                      version_folder: Path) -> None:
    registry.yank("a/b@1", "labels were swapped")
    for _ in flips(version_folder / name):
        with pytest.raises(InvalidFolder, match="cannot be trusted"):
            registry.verify("a/b@1")
    registry.verify("a/b@1")


def test_every_flipped_region_of_an_aliases_move_is_found_by_who_asks_for_it(registry: Registry,
                                                                            tmp_path: Path) -> None:
    registry.promote("a/b@1", "production")
    for _ in flips(tmp_path / "registry/a/b/aliases/production/1.json"):
        for ask in (registry.read, registry.verify, registry.history):
            with pytest.raises(InvalidFolder, match="cannot be trusted"):
                ask("a/b@production")
    registry.read("a/b@production")


def test_every_flipped_region_of_a_real_adapter_is_found(tmp_path: Path) -> None:
    shipped = Settings.from_environment({}).shipped_registry
    assert shipped is not None
    copy = tmp_path / "copy"
    shutil.copytree(shipped / "support/banking77", copy / "support/banking77")
    for name in (*FOLDER_FILES, "version.json"):
        for _ in flips(copy / "support/banking77/versions/1" / name):
            with pytest.raises(AdapterHubError):
                Registry(copy).read("support/banking77@1")
    Registry(copy).verify("support/banking77@1")


@pytest.mark.parametrize("name", FOLDER_FILES)
def test_file_that_vanished_is_named(name: str, registry: Registry, version_folder: Path) -> None:
    (version_folder / name).unlink()
    with pytest.raises(InvalidFolder, match=f"{name} is missing"):
        registry.read("a/b")


def test_version_with_another_versions_files_is_refused(registry: Registry, version_folder: Path,
                                                       tmp_path: Path) -> None:
    other = write_adapter_folder(tmp_path / "other", seed=1)
    for name in FOLDER_FILES:
        shutil.copy(other / name, version_folder / name)
    with pytest.raises(InvalidFolder, match=r"a/b@1 is refused: the digest of adapterhub\.json is"):
        registry.read("a/b")


@pytest.mark.parametrize("put", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, os.mkdir])
def test_file_that_is_a_link_or_pipe_is_refused(put, registry: Registry, version_folder: Path) -> None:
    (version_folder / "README.md").unlink()
    put(version_folder / "README.md")
    with pytest.raises(StorageError, match=r"README.md is not a plain file"):
        registry.read("a/b")
