"""A base is who its weights, tokenizer and config say it is, never who its name says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny import write_tiny_base

import adapterhub.bases.fingerprint as fingerprints
from adapterhub.bases.embedded import EMBEDDED, WEIGHTS_SHA256, embedded_folder
from adapterhub.bases.fingerprint import Fingerprint, fingerprint_base
from adapterhub.bases.resolve import BaseSource, resolve_base
from adapterhub.errors import BaseNotFound, StorageError
from adapterhub.files import sha256_of_file


def taken(folder: Path, cache: Path, *, name: str = "tiny") -> Fingerprint:
    return fingerprint_base(BaseSource(id=name, revision=None, folder=folder), cache)


@pytest.fixture
def base(tiny_base_folder: Path, tmp_path: Path) -> Path:
    """A base that a test may change."""
    return Path(shutil.copytree(tiny_base_folder, tmp_path / "base"))


def change_one_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] += 1.0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_a_word(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"where"', '"whence"'))


def set_in_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(("change", "part"), [
    (change_one_weight, "weights"), (change_a_word, "tokenizer"),
    (lambda folder: set_in_config(folder, layer_norm_eps=1e-5), "config")], ids=["weight", "word", "config"])
def test_changed_part_gives_another_fingerprint(change: Callable[[Path], None], part: str, base: Path,
                                                tmp_path: Path) -> None:
    before = taken(base, tmp_path / "cache")
    change(base)
    after = taken(base, tmp_path / "cache")
    assert before.fingerprint != after.fingerprint
    parts = ("weights", "tokenizer", "config")
    assert [name for name in parts if getattr(before, name) != getattr(after, name)] == [part]


def test_same_shapes_with_other_weights_are_another_base(tiny_base_folder: Path, tmp_path: Path) -> None:
    other = write_tiny_base(tmp_path / "other", seed=1)
    assert taken(other, tmp_path / "c").fingerprint != taken(tiny_base_folder, tmp_path / "c").fingerprint


def test_copy_in_another_place_under_another_name_is_the_same_base(base: Path, tiny_base_folder: Path,
                                                                   tmp_path: Path) -> None:
    assert taken(base, tmp_path / "c", name="copy") == taken(tiny_base_folder, tmp_path / "c")


def test_what_does_not_change_the_answers_does_not_change_the_fingerprint(base: Path, tmp_path: Path) -> None:
    before = taken(base, tmp_path / "cache")
    set_in_config(base, _name_or_path="elsewhere", transformers_version="4.0.0", id2label={"0": "x"})
    assert taken(base, tmp_path / "cache") == before


def test_fingerprint_is_taken_once_and_then_cached(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = taken(base, tmp_path / "cache")
    monkeypatch.setattr(fingerprints, "sha256_of_file", lambda path: pytest.fail(f"{path} was hashed again"))
    assert taken(base, tmp_path / "cache") == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fingerprint": "x"}'])
def test_torn_cache_entry_is_taken_anew(content: str, base: Path, tmp_path: Path) -> None:
    before = taken(base, tmp_path / "cache")
    entry = next((tmp_path / "cache" / "fingerprints").iterdir())
    entry.write_text(content)
    assert taken(base, tmp_path / "cache") == before
    assert json.loads(entry.read_text())["fingerprint"] == before.fingerprint


def test_cache_that_cannot_be_written_costs_only_time(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert taken(base, tmp_path / "file") == taken(base, tmp_path / "cache")


@pytest.mark.parametrize(("name", "reason"), [
    ("model.safetensors", "holds no .safetensors weights"), ("tokenizer.json", "holds no tokenizer"),
    ("config.json", "holds no config.json")])
def test_incomplete_base_is_refused_with_what_is_missing(name: str, reason: str, base: Path, tmp_path: Path) -> None:
    for other in base.iterdir():
        if other.name == name or (name == "tokenizer.json" and "token" in other.name):
            other.unlink()
    with pytest.raises(BaseNotFound, match=reason):
        taken(base, tmp_path / "cache")


def test_pickled_weights_alone_are_no_base(base: Path, tmp_path: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(BaseNotFound, match=r"no \.safetensors weights\. Convert them once"):
        taken(base, tmp_path / "cache")


def test_weights_that_cannot_be_read_are_told_in_one_sentence(base: Path, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fingerprints, "sha256_of_file", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        taken(base, tmp_path / "cache")


def test_embedded_base_holds_upstreams_weights(tmp_path: Path) -> None:
    folder = embedded_folder()
    assert sha256_of_file(folder / "model.safetensors") == WEIGHTS_SHA256
    source = resolve_base(EMBEDDED)
    assert (source.id, source.folder) == (EMBEDDED, folder)


def test_embedded_base_with_other_weights_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(BaseNotFound, match=r"SHA-256 [0-9a-f]{12}, upstream's is 53aa51172d14\. Install it anew"):
        taken(base, tmp_path / "cache", name=EMBEDDED)


def test_cache_entry_of_a_folder_does_not_stand_in_for_the_embedded_check(base: Path, tmp_path: Path) -> None:
    taken(base, tmp_path / "cache")
    with pytest.raises(BaseNotFound, match="upstream's is"):
        taken(base, tmp_path / "cache", name=EMBEDDED)
