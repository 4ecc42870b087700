"""What rows that write cannot share is refused by name: trained heads and embeddings, and bases of other kinds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from generation_bed import Bed
from language_models import PAD, Recipe, byte_tokenizer, describe, write_lora
from peft import LoraConfig, get_peft_model
from transformers import PegasusConfig, PegasusForConditionalGeneration

from adapterhub.bases.load import load_base
from adapterhub.errors import AdapterHubError, BaseNotFound, PredictionError
from adapterhub.registry import Registry
from adapterhub.runtime.answer import Failure
from adapterhub.runtime.generation.engine import Generator
from adapterhub.runtime.generation.row import Generated
from adapterhub.runtime.generation.settings import GenerationSettings

FEW = GenerationSettings(max_new_tokens=4)


def write_beside(folder: Path, bed: Bed, *, saves_embeddings: bool = False, **config: Any) -> Path:
    """Write a LoRA by PEFT that trains something beside the layers; the manifest names what is saved whole."""
    model = get_peft_model(bed.base.load_with_lm_head(), LoraConfig(task_type="CAUSAL_LM", r=2, **config))
    random = torch.Generator().manual_seed(0)
    for value in model.parameters():
        if value.requires_grad:
            value.data = torch.randn(value.shape, generator=random) * 0.1
    model.save_pretrained(str(folder), save_embedding_layers=saves_embeddings)
    describe(folder, bed.base, Recipe(rank=2))
    manifest = json.loads((folder / "adapterhub.json").read_text())
    manifest["head"]["modules"] = config.get("modules_to_save", [])
    (folder / "adapterhub.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(("config", "named"), [
    ({"modules_to_save": ["lm_head"]}, "lm_head"),
    ({"modules_to_save": ["embed_tokens"]}, "embed_tokens"),
    ({"trainable_token_indices": {"embed_tokens": [5, 6]}}, "trainable_token_indices"),
    ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
    ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
    ({"saves_embeddings": True}, "embed_tokens")],
    ids=["head", "embeddings", "token indices", "product on the head", "product on embeddings", "saved embeddings"])
def test_what_is_trained_beside_the_layers_is_refused_by_name_and_others_go_on(
        config: dict[str, Any], named: str, llama: Bed, tmp_path: Path) -> None:
    folder = write_beside(tmp_path / "adapter", llama, **{"target_modules": ["q_proj"], **config})
    generator = Generator(llama.base, llama.registry, settings=llama.settings)
    refused, others = generator.generate([(str(folder), "my card", FEW), ("t/two", "my card", FEW)])
    assert isinstance(refused, Failure)
    assert named in str(refused.error)
    assert len(str(refused.error).splitlines()) == 1
    assert isinstance(others, Generated)
    assert others.tokens == llama.stock("t/two", "my card", 4)


def test_trained_head_is_refused_in_words_that_say_what_to_do(llama: Bed, tmp_path: Path) -> None:
    folder = write_beside(tmp_path / "adapter", llama, target_modules=["q_proj"], modules_to_save=["lm_head"])
    with pytest.raises(AdapterHubError) as refused:
        llama.generator().load(str(folder))
    assert str(refused.value) == ("The adapter saves lm_head.weight whole, which rows cannot share. Train it without "
                                  "modules_to_save and without biases outside the layers.")


def test_decoder_that_counts_positions_its_own_way_is_refused_by_name(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(adds_eos=True)
    torch.manual_seed(0)
    PegasusForConditionalGeneration(PegasusConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
        pad_token_id=PAD, decoder_start_token_id=PAD)).save_pretrained(tmp_path / "pegasus")
    tokenizer.save_pretrained(tmp_path / "pegasus")
    base = load_base(str(tmp_path / "pegasus"), cache=tmp_path / "cache")
    with pytest.raises(BaseNotFound, match=r"is of type pegasus, whose rows cannot share a step.* and BART"):
        Generator(base, Registry(tmp_path / "registry"))


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_adapter_loaded_ahead_is_resident_and_one_at_fault_is_told(family: str, bed_of: Callable[[str], Bed],
                                                                   tmp_path: Path) -> None:
    bed = bed_of(family)
    generator = bed.generator()
    assert generator.load("t/two").reference == "t/two@1"
    assert generator.statistics().n_resident == 1
    other = bed_of("t5" if family == "llama" else "llama")
    folder = write_lora(tmp_path / "other", other.base, Recipe())
    with pytest.raises(AdapterHubError, match="was trained on base"):
        generator.load(str(folder))


def test_bart_is_asked_for_no_more_than_it_has_positions(bed_of: Callable[[str], Bed]) -> None:
    generator = bed_of("bart").generator()
    with pytest.raises(PredictionError, match="161 tokens are to come, the base writes at most 160"):
        generator.submit("t/two", "a", GenerationSettings(max_new_tokens=161))
    longest = GenerationSettings(max_new_tokens=160, stops_at_eos=False)
    assert len(generator.submit("t/two", "a", longest).result().tokens) == 160
