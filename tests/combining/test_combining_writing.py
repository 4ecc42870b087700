"""Adapters of language models are merged, converted and exported too: decoders, Conv1D and encoder-decoders."""

from dataclasses import replace
from pathlib import Path

import pytest
from language_models import Recipe, stock_lm, stock_tokens, write_language_model, write_lora
from transformers import AutoTokenizer

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base, load_base
from adapterhub.combining.convert import convert
from adapterhub.combining.export import export
from adapterhub.combining.made import Parent
from adapterhub.combining.merge import MergeConfig, merge
from adapterhub.runtime.measure import verify_probe
from adapterhub.settings import Settings

TARGETS = {"llama": ("q_proj", "down_proj"), "gpt2": ("c_attn",), "t5": ("q", "wo")}
PROMPT = "A b c"


@pytest.fixture(scope="module", params=TARGETS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Base:
    folder = write_language_model(tmp_path_factory.mktemp("bases") / request.param, request.param)
    return load_base(str(folder), cache=tiny_settings.cache)


@pytest.fixture(scope="module")
def parents(base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Parent]:
    """Two plain ones and one DoRA of the family."""
    plain = Recipe(rank=2, targets=TARGETS[base.source.folder.name])
    recipes = (plain, replace(plain, seed=2), replace(plain, seed=3, use_dora=True))
    place = tmp_path_factory.mktemp("parents")
    folders = [read_folder(write_lora(place / str(recipe.seed), base, recipe)) for recipe in recipes]
    return [Parent(files=files, reference=f"sha256:{files.digest}") for files in folders]


def written(base_folder: Path, adapter: Path | None) -> list[int]:
    prompt = AutoTokenizer.from_pretrained(base_folder)(PROMPT).input_ids
    return stock_tokens(stock_lm(base_folder, adapter), prompt, 12)


def test_merge_of_an_adapter_with_itself_writes_what_that_one_writes(base: Base, parents: list[Parent],
                                                                     tmp_path: Path) -> None:
    made = merge([parents[0], parents[0]], MergeConfig(weights=(0.25, 0.75)), base, tmp_path / "made")
    assert made.manifest.combination
    assert made.manifest.combination.relative_error < 1e-6
    assert written(base.source.folder, made.path) == written(base.source.folder, parents[0].files.path)
    assert "model.generate" in made.files["README.md"].decode()


def test_exact_merge_of_two_has_no_error(base: Base, parents: list[Parent], tmp_path: Path) -> None:
    for method, rank in (("cat", None), ("svd", 4)):
        made = merge(parents[:2], MergeConfig(weights=(1.0, 0.5), method=method, rank=rank), base, tmp_path / method)
        assert made.manifest.combination
        assert made.manifest.combination.relative_error < 1e-6
        assert made.manifest.labels == made.manifest.head.modules == []
        assert len(made.manifest.probe) == 3
        assert verify_probe(made, base) < 1e-5


def test_conversion_of_dora_states_what_it_loses(base: Base, parents: list[Parent], tmp_path: Path) -> None:
    errors = []
    for rank in (2, 16):
        how = convert(parents[2], rank, base, tmp_path / str(rank)).manifest.combination
        assert how is not None
        assert how.output_difference is not None
        errors.append(how.relative_error)
    assert 0 < errors[1] < errors[0] < 1


def test_exported_model_writes_what_the_adapter_writes(base: Base, parents: list[Parent], tmp_path: Path) -> None:
    for parent in (parents[0], parents[2]):
        done = export(parent, base, tmp_path / parent.reference[-8:])
        assert written(done.folder, None) == written(base.source.folder, parent.files.path)
        assert written(done.folder, None) != written(base.source.folder, None)
