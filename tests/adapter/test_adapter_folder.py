"""An adapter folder is read whole with every digest compared, or refused with its reason."""

import os
import pickle
from pathlib import Path

import pytest
from adapter_folders import edit_manifest, listed_anew, write_adapter_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.adapter.folder import FOLDER_FILES, parse_folder, read_folder
from adapterhub.adapter.manifest import MANIFEST_FILE, parse_manifest
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE
from adapterhub.errors import AdapterHubError, DataError, InvalidFolder


def test_digest_is_the_manifests_and_so_covers_every_file(tmp_path: Path) -> None:
    first = read_folder(write_adapter_folder(tmp_path / "a", seed=1))
    same = read_folder(write_adapter_folder(tmp_path / "b", seed=1))
    other = read_folder(write_adapter_folder(tmp_path / "c", seed=2))
    assert first.digest == same.digest != other.digest


def test_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    manifest = read_folder(write_adapter_folder(tmp_path / "a")).manifest
    assert parse_manifest(manifest.to_bytes(), "a") == manifest


def test_absent_folder_is_named() -> None:
    with pytest.raises(DataError, match="No such adapter folder: nowhere"):
        read_folder(Path("nowhere"))


@pytest.mark.parametrize("name", FOLDER_FILES)
def test_missing_file_is_named(name: str, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    (folder / name).unlink()
    with pytest.raises(InvalidFolder, match=f"{name} is missing"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.PKL", "optimizer.pt"])
def test_pickle_is_refused_unread(name: str, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    (folder / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InvalidFolder, match="may be a pickle"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["code.py", "model.safetensors", ".hidden"])
def test_unlisted_file_is_refused(name: str, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    (folder / name).write_bytes(b"x")
    with pytest.raises(InvalidFolder, match=f"{name} is unexpected"):
        read_folder(folder)


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    (folder / WEIGHTS_FILE).rename(tmp_path / "weights")
    (folder / WEIGHTS_FILE).symlink_to(tmp_path / "weights")
    with pytest.raises(InvalidFolder, match="is a symbolic link"):
        read_folder(folder)


def test_pipe_is_refused_and_not_waited_on(tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    (folder / CONFIG_FILE).unlink()
    os.mkfifo(folder / CONFIG_FILE)
    with pytest.raises(InvalidFolder, match="is not a plain file"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "sub/file"])
def test_manifest_that_lists_a_file_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    edit_manifest(folder, files={name: {"sha256": "0" * 64, "size_bytes": 1}})
    with pytest.raises(InvalidFolder, match="leaves the folder"):
        read_folder(folder)


def test_manifest_without_a_files_digest_is_refused(tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    edit_manifest(folder, files={})
    with pytest.raises(InvalidFolder, match=f"has no digest of {WEIGHTS_FILE}"):
        read_folder(folder)


@pytest.mark.parametrize(("change", "reason"), [
    ({"format": 3}, "has format 3, this adapterhub reads 2"),
    ({"labels": "card"}, "labels: input should be a valid list"),
    ({"secret": 1}, "secret: "),
    ({"method": {}}, "method.name: "),
])
def test_manifest_at_fault_names_its_field(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    edit_manifest(folder, **change)
    with pytest.raises(InvalidFolder) as caught:
        read_folder(folder)
    assert reason in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b"null", b"{"])
@pytest.mark.parametrize("name", [MANIFEST_FILE, CONFIG_FILE])
def test_json_that_is_none_is_refused(name: str, data: bytes, tmp_path: Path) -> None:
    folder = write_adapter_folder(tmp_path / "a")
    (folder / name).write_bytes(data)
    if name == CONFIG_FILE:
        listed_anew(folder)
    with pytest.raises(InvalidFolder, match=name):
        read_folder(folder)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("flip") / "a"
    content = read_folder(write_adapter_folder(folder))
    name = data.draw(st.sampled_from([name for name in FOLDER_FILES if name != MANIFEST_FILE]))
    changed = bytearray(content.files[name])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(AdapterHubError):
        parse_folder(folder, content.files | {name: bytes(changed)})
