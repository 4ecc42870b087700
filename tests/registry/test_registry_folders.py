"""Folders asked for by their path: known by their digest, so that a changed folder is another version."""

import shutil
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder

from adapterhub.errors import DataError, InvalidFolder
from adapterhub.registry import Registry, WithFolders
from adapterhub.registry.folders import is_folder_path


@pytest.fixture
def both(tmp_path: Path) -> WithFolders:
    registry = Registry(tmp_path / "registry")
    registry.publish(write_adapter_folder(tmp_path / "published"), "support/intents")
    return WithFolders(registry)


@pytest.mark.parametrize(("text", "expected"), [("./a", True), ("../a/b", True), ("/a/b", True), ("a/b/", True),
                                                ("a/b", False), ("a/b@1", False), (".a/b", False)])
def test_only_paths_that_no_reference_can_be_are_folders(text: str, expected: bool) -> None:
    assert is_folder_path(text) is expected


def test_folder_has_the_digest_that_publishing_it_would_give(both: WithFolders, tmp_path: Path) -> None:
    found = both.resolve(str(tmp_path / "published"))
    assert (found.digest, found.reference) == (both.resolve("support/intents").digest, str(tmp_path / "published"))
    assert both.read(found).digest == found.digest


def test_slash_at_the_end_makes_a_folder_of_what_reads_like_a_reference(both: WithFolders, tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_adapter_folder(tmp_path / "support" / "intents", seed=1)
    monkeypatch.chdir(tmp_path)
    found = both.resolve("support/intents/")
    assert found.digest == both.read(found).digest == both.resolve(str(folder)).digest
    assert found.digest != both.resolve("support/intents").digest


def test_reference_is_the_registrys(both: WithFolders) -> None:
    assert both.resolve("support/intents").reference == "support/intents@1"
    assert both.read("support/intents").manifest.task == "text-classification"
    assert [listing.path for listing in both.list()] == ["support/intents"]


def test_changed_folder_is_another_version(both: WithFolders, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "mine")
    before = both.resolve(str(folder))
    shutil.rmtree(folder)
    write_adapter_folder(folder, seed=1)
    assert both.resolve(str(folder)).digest != before.digest
    with pytest.raises(InvalidFolder, match="it changed while it was asked for"):
        both.read(before)


def test_file_changed_under_the_manifest_is_refused(both: WithFolders, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "mine")
    version = both.resolve(str(folder))
    with (folder / "README.md").open("a") as file:
        file.write("more")
    with pytest.raises(InvalidFolder, match=r"README\.md"):
        both.read(version)


def test_absent_folder_and_folder_without_manifest_are_refused(both: WithFolders, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such adapter folder"):
        both.resolve("./nothing-here")
    with pytest.raises(InvalidFolder, match="is missing"):
        both.resolve(str(tmp_path))
