"""Tiny seeded language models of several families, and LoRA folders for them that PEFT itself wrote."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from adapter_folders import manifest_of
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    T5Config,
)

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE
from adapterhub.bases.load import Base

PAD, BOS, EOS = 0, 1, 2
WINDOW = 12
"""Tokens that the tiny Mistral looks back."""
MAX_POSITIONS = 160
CHAT_TEMPLATE = ("{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
                 "{% if add_generation_prompt %}assistant: {% endif %}")
TWO_PART = ("t5", "bart")
"""Encoder-decoders."""
FAMILIES = ("llama", "gpt2", "qwen2", "qwen3", "mistral", *TWO_PART)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one test adapter is made."""

    rank: int = 4
    targets: tuple[str, ...] = ()
    """Empty: every linear layer."""
    use_dora: bool = False
    seed: int = 1


def write_language_model(folder: Path, family: str, *, seed: int = 0) -> Path:
    """Save a tiny language model with its head and a byte tokenizer, and return its folder."""
    tokenizer = byte_tokenizer(adds_eos=family in TWO_PART)
    auto_class: Any = AutoModelForSeq2SeqLM if family in TWO_PART else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = auto_class.from_config(_config(family, len(tokenizer)))
        for name, value in model.named_parameters():  # wide weights: answers that differ, and seldom nearly tie
            if value.ndim == 2 and "embed" not in name and "shared" not in name:
                torch.nn.init.normal_(value, std=0.15)
    model.generation_config.pad_token_id = PAD
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer(*, adds_eos: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token for each byte, which begins a text with BOS, or ends it with EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>" if adds_eos else "<s> $A", special_tokens=[("<s>", BOS), ("</s>", EOS)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
                                   model_max_length=MAX_POSITIONS, chat_template=CHAT_TEMPLATE)


def write_lora(folder: Path, base: Base, recipe: Recipe) -> Path:
    """Write an adapter folder: a seeded LoRA, saved by PEFT, described as the export does."""
    is_encoder_decoder = base.config.is_encoder_decoder
    config = LoraConfig(task_type="SEQ_2_SEQ_LM" if is_encoder_decoder else "CAUSAL_LM", r=recipe.rank,
                        lora_alpha=2 * recipe.rank, use_dora=recipe.use_dora,
                        fan_in_fan_out=base.config.model_type == "gpt2",  # its layers are Conv1D
                        target_modules=list(recipe.targets) or "all-linear")
    model = get_peft_model(base.load_with_lm_head(), config)
    generator = torch.Generator().manual_seed(recipe.seed)
    for name, value in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            value.data = torch.randn(value.shape, generator=generator) * value.shape[-1] ** -0.5
        elif "lora_magnitude" in name:
            value.data *= 1 + 0.2 * torch.randn(value.shape, generator=generator)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return describe(folder, base, recipe)


def describe(folder: Path, base: Base, recipe: Recipe) -> Path:
    """Complete a folder that PEFT wrote, as the export does: its base, a card, a manifest."""
    raw = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(raw | {"base_model_name_or_path": base.source.id}))
    (folder / CARD_FILE).write_text("---\nlibrary_name: peft\n---\n# A test adapter\n")
    files = {name: (folder / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)}
    tensors = {name: value.numpy() for name, value in load_file(folder / WEIGHTS_FILE).items()}
    task = "text2text-generation" if base.config.is_encoder_decoder else "text-generation"
    manifest = manifest_of(files, tensors, seed=recipe.seed, labels=[], fingerprint=base.identity.fingerprint,
                           task=task)
    value = json.loads(manifest.to_bytes())
    value["probe"] = []
    value["method"] |= {"rank": recipe.rank, "target_modules": sorted(raw["target_modules"])}
    (folder / MANIFEST_FILE).write_text(json.dumps(value))
    return folder


def stock_lm(base_folder: Path, adapter: Path | None) -> PreTrainedModel | PeftModel:
    """Load the base by transformers and, where given, the adapter by PEFT."""
    is_encoder_decoder = json.loads((base_folder / "config.json").read_text()).get("is_encoder_decoder", False)
    auto_class: Any = AutoModelForSeq2SeqLM if is_encoder_decoder else AutoModelForCausalLM
    model = auto_class.from_pretrained(base_folder)
    return (model if adapter is None else PeftModel.from_pretrained(model, str(adapter))).eval()


def stock_tokens(model: PreTrainedModel | PeftModel, prompt: Sequence[int], n_new: int, **options: Any) -> list[int]:
    """Generate for one row alone by transformers, and return the new tokens."""
    ids = torch.tensor([list(prompt)])
    options = {"do_sample": False, "max_new_tokens": n_new, "pad_token_id": PAD, **options}
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)[0]
    return [int(token) for token in written[1 if model.config.is_encoder_decoder else len(prompt):]]


def _config(family: str, n_tokens: int) -> PreTrainedConfig:
    common = {"vocab_size": n_tokens, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    llama = {**common, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "max_position_embeddings": MAX_POSITIONS}
    makers: dict[str, Any] = {
        "llama": lambda: LlamaConfig(**llama), "qwen2": lambda: Qwen2Config(**llama),
        "qwen3": lambda: Qwen3Config(**llama, head_dim=16),
        "mistral": lambda: MistralConfig(**llama, sliding_window=WINDOW),
        "gpt2": lambda: GPT2Config(**common, n_embd=64, n_layer=2, n_head=4, n_positions=MAX_POSITIONS,
                                   resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
        "bart": lambda: BartConfig(**common, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
                                   decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96,
                                   max_position_embeddings=MAX_POSITIONS, decoder_start_token_id=EOS,
                                   forced_eos_token_id=None),
        "t5": lambda: T5Config(**common, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4,
                               decoder_start_token_id=PAD, tie_word_embeddings=False, relative_attention_num_buckets=8,
                               relative_attention_max_distance=20),
    }
    return makers[family]()
