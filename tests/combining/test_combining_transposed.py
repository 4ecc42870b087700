"""GPT-2's layers hold their weights as [I, O]; merges, conversions and exports are no other there."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from peft_folders import write_peft_folder
from tiny import tiny_tokenizer
from transformers import GPT2Config, GPT2Model

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base, load_base
from adapterhub.combining.convert import convert
from adapterhub.combining.export import export
from adapterhub.combining.made import Parent
from adapterhub.combining.merge import MergeConfig, merge
from adapterhub.settings import Settings

PLAIN = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["attn.c_attn"], modules_to_save=["score"],
                   fan_in_fan_out=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("transposed")
    tokenizer = tiny_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64, pad_token_id=0,
                        bos_token_id=2, eos_token_id=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2Model(config).save_pretrained(place / "gpt2")
    tokenizer.save_pretrained(place / "gpt2")
    return place


@pytest.fixture(scope="module")
def base(place: Path, tiny_settings: Settings) -> Base:
    return load_base(str(place / "gpt2"), cache=tiny_settings.cache)


@pytest.fixture(scope="module")
def parents(place: Path, base: Base, tiny_settings: Settings) -> list[Parent]:
    folders = [write_peft_folder(place / f"parent{seed}", place / "gpt2", tiny_settings.cache, config, seed=seed)
               for seed, config in enumerate((PLAIN, PLAIN, replace(PLAIN, use_dora=True)))]
    return [Parent(files=files, reference=f"sha256:{files.digest}") for files in map(read_folder, folders)]


@pytest.mark.parametrize(("method", "rank"), [("cat", None), ("svd", 4)])
def test_exact_merges_are_exact(method: str, rank: int | None, parents: list[Parent], base: Base,
                                tmp_path: Path) -> None:
    made = merge(parents[:2], MergeConfig(weights=(1.0, -0.5), method=method, rank=rank, head_from=1), base,
                 tmp_path / "made")
    assert made.manifest.combination
    assert made.manifest.combination.relative_error < 1e-6


def test_conversion_at_full_rank_answers_as_the_original(parents: list[Parent], base: Base, tmp_path: Path) -> None:
    for number, rank in ((0, 2), (2, 32)):  # DoRA's change has a higher rank than its product
        how = convert(parents[number], rank, base, tmp_path / str(number)).manifest.combination
        assert how is not None
        assert how.output_difference is not None
        assert how.relative_error < 1e-5
        assert how.output_difference < 1e-4


def test_export_answers_as_the_adapter(parents: list[Parent], base: Base, tmp_path: Path) -> None:
    for number, parent in enumerate(parents):
        assert export(parent, base, tmp_path / str(number)).output_difference < 1e-4
