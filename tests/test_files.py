"""Files and folders appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest
from adapter_folders import names_in

from adapterhub import files
from adapterhub.errors import DataError, StorageError


def test_interrupted_write_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    files.write_atomic(path, b"old")
    monkeypatch.setattr(os, "replace", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


def test_interrupted_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), files.folder_written_whole(tmp_path / "a") as folder:
        (folder / "x").write_bytes(b"1")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


def test_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    with files.folder_written_whole(tmp_path / "b" / "a") as folder:
        (folder / "x").write_bytes(b"1")
        assert not (tmp_path / "b" / "a").exists()
    assert (tmp_path / "b" / "a" / "x").read_bytes() == b"1"


def test_folder_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    with pytest.raises(DataError, match="exists already"), files.folder_written_whole(tmp_path):
        pass
    assert names_in(tmp_path) == ["x"]


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with files.folder_written_whole(tmp_path / "a") as folder:
        (folder / "x").write_bytes(b"1")
    assert names_in(tmp_path / "a") == ["x"]


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "No space left on the device"),
                                               (errno.EROFS, "Read-only file system"),
                                               (errno.EACCES, "Permission denied"),
                                               (errno.EIO, "cannot be used")])
def test_system_fault_becomes_one_sentence_with_the_place(number: int, words: str) -> None:
    with pytest.raises(StorageError) as caught, files.storage_errors("/the/place"):
        raise OSError(number, os.strerror(number))
    assert words in str(caught.value)
    assert "/the/place" in str(caught.value)


def test_full_disk_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_atomic(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", _no_space)
    with pytest.raises(StorageError, match="No space left"):
        files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


def test_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert files.sha256_of_file(tmp_path / "a") == files.sha256_of_bytes(data)


def test_equal_values_give_equal_json_text() -> None:
    assert files.canonical_json({"b": 1, "a": "é"}) == files.canonical_json({"a": "é", "b": 1})


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_text_that_is_no_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(DataError, match="not readable JSON"):
        files.read_json(tmp_path / "a")


def test_absent_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        files.read_json(tmp_path / "a")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_folder_written_whole_can_be_read_by_others(tmp_path: Path) -> None:
    with files.folder_written_whole(tmp_path / "folder") as unfinished:
        (unfinished / "inside").mkdir(mode=0o700)
        (unfinished / "inside" / "tensors").touch(mode=0o600)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("folder", "folder/inside", "folder/inside/tensors")]
    assert modes == [0o755, 0o755, 0o644]
