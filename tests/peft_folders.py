"""Adapter folders made by stock PEFT on a tiny base, with every trained tensor moved away from its start."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from adapterhub.adapter.folder import CARD_FILE, CONTENT_FILES
from adapterhub.adapter.manifest import (
    MANIFEST_FILE,
    DataFacts,
    FileFacts,
    HeadFacts,
    Manifest,
    MethodFacts,
    TrainingFacts,
)
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE
from adapterhub.bases.load import load_base
from adapterhub.files import canonical_json, read_json, sha256_of_file

LABELS = ["a", "b", "c"]


def write_peft_folder(folder: Path, base_folder: Path, cache: Path, config: PeftConfig, *, seed: int = 0,
                      auto_class: Any = AutoModelForSequenceClassification, task: str = "text-classification",
                      labels: list[str] = LABELS) -> Path:
    """Wrap the base by PEFT, move what it trains, save it by PEFT, describe it, and return the folder."""
    labels = list(labels)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # PEFT warns of methods that change biases or the base's weights
        torch.manual_seed(seed)
        options = {"num_labels": len(labels)} if labels else {}
        model = get_peft_model(auto_class.from_pretrained(base_folder, dtype=torch.float32, **options), config)
        with torch.no_grad():
            for name, value in model.named_parameters():
                if value.requires_grad:
                    value.add_(torch.randn_like(value) * 0.1 * (1 + 4 * ("lora_" in name)))
        model.save_pretrained(str(folder), save_embedding_layers=False)
    return describe(folder, base_folder, cache, model, task=task, labels=labels)


def describe(folder: Path, base_folder: Path, cache: Path, model: PeftModel, *, task: str, labels: list[str]) -> Path:
    """Write the manifest and card that make a stock PEFT folder an adapter folder."""
    raw, tensors = read_json(folder / CONFIG_FILE), load_file(folder / WEIGHTS_FILE)
    saved = [name for name in raw.get("modules_to_save") or [] if any(f".{name}." in key for key in tensors)]
    (folder / CONFIG_FILE).write_bytes(canonical_json(raw | {"base_model_name_or_path": "tiny",
                                                             "modules_to_save": saved or None}))
    (folder / CARD_FILE).write_text("---\nlibrary_name: peft\n---\n# A test adapter\n")
    base = load_base(str(base_folder), cache=cache)
    manifest = Manifest(
        task=task, labels=labels, base=base.facts, head=HeadFacts(modules=saved, max_length=32), metrics=[], probe=[],
        method=MethodFacts(name=raw["peft_type"].lower(), rank=raw.get("r", 0), target_modules=[], dtype="float32",
                           n_parameters=sum(value.numel() for value in tensors.values())),
        data=DataFacts(name="none", digest="d" * 64, n_rows={}), files={},
        training=TrainingFacts(seed=0, hyperparameters={}, versions={}, seconds=0.0, peak_memory_bytes=1))
    files = {name: FileFacts(sha256=sha256_of_file(folder / name), size_bytes=(folder / name).stat().st_size)
             for name in CONTENT_FILES}
    (folder / MANIFEST_FILE).write_bytes(replace(manifest, files=files).to_bytes())
    return folder
