"""Language models for the generation benchmark, and LoRA folders for them that PEFT wrote, with invented values."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.adapter.manifest import MANIFEST_FILE, MethodFacts
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE
from adapterhub.bases.load import Base
from adapterhub.files import canonical_json
from adapterhub.settings import Settings
from benchmarks.adapters_made import invented_manifest

REAL_MODELS = ("babyllama-tok105", "stories260K")
"""Below `models` of ADAPTERHUB_DATA."""


def language_models(place: Path) -> dict[str, Path]:
    """Return name -> folder of the real models that are here; of one with random weights where none is."""
    data = Settings.from_environment().data
    found = {} if data is None else {name: data / "models" / name for name in REAL_MODELS}
    found = {name: folder for name, folder in found.items() if folder.is_dir()}
    return found or {"random Llama": _random_llama(place / "random-llama")}


def write_language_adapters(place: Path, base: Base, targets: Sequence[str], *, rank: int, count: int) -> list[Path]:
    """Write `count` LoRA folders of one recipe, each with its own seeded values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's about a property that transformers renamed
        model = get_peft_model(base.load_with_lm_head(), LoraConfig(
            task_type=TaskType.CAUSAL_LM, r=rank, lora_alpha=2 * rank, target_modules=list(targets)))
        return [_write(place / f"adapter-{seed:02}", base, model, rank, seed) for seed in range(count)]


def _write(folder: Path, base: Base, model: PeftModel, rank: int, seed: int) -> Path:
    random = torch.Generator().manual_seed(seed)
    n_parameters = 0
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data = torch.randn(value.shape, generator=random) * 0.3 * value.shape[-1] ** -0.5
            n_parameters += value.numel()
    model.save_pretrained(str(folder), save_embedding_layers=False)
    raw = json.loads((folder / CONFIG_FILE).read_bytes()) | {"base_model_name_or_path": base.source.id}
    (folder / CONFIG_FILE).write_bytes(canonical_json(raw | {"target_modules": sorted(raw["target_modules"])}))
    (folder / CARD_FILE).write_text(f"---\nlibrary_name: peft\n---\n# Made for a benchmark, seed {seed}\n")
    files = {name: (folder / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)}
    method = MethodFacts(name="lora", rank=rank, target_modules=sorted(raw["target_modules"]), dtype="float32",
                         n_parameters=n_parameters)
    manifest = invented_manifest(base, "text-generation", method, files, seed)
    (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    return folder


def _random_llama(folder: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<unk>", bos_token="<s>", eos_token="</s>",
                            model_max_length=512).save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(pieces), hidden_size=128, intermediate_size=352, num_hidden_layers=5,
                                 num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=512,
                                 initializer_range=0.2)).save_pretrained(folder)
    return folder
