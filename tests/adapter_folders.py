"""Tiny adapter folders for tests: two layers, rank 2, written without torch, with one fault built in on demand."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from adapterhub.adapter.check import BaseShapes
from adapterhub.adapter.folder import CARD_FILE
from adapterhub.adapter.manifest import (
    MANIFEST_FILE,
    BaseFacts,
    DataFacts,
    FileFacts,
    HeadFacts,
    Manifest,
    MethodFacts,
    Metric,
    ProbeRow,
    TrainingFacts,
)
from adapterhub.adapter.peft_config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from adapterhub.files import canonical_json, sha256_of_bytes

FINGERPRINT = "f" * 64
LABELS = ("card", "loan", "other")
HIDDEN = 8
RANK = 2
MODULES = tuple(f"bert.encoder.layer.{layer}.attention.self.query" for layer in range(2))
Tensors = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """What is done to a valid folder before the manifest is taken of it."""

    tensors: Callable[[Tensors], Tensors] = lambda tensors: tensors
    config: dict[str, Any] = field(default_factory=dict)
    """Fields of adapter_config.json that are set."""
    weights: Callable[[bytes], bytes] = lambda data: data
    manifest: Callable[[Manifest], Manifest] = lambda manifest: manifest


NONE = Corruption()


def write_adapter_folder(path: Path, *, seed: int = 0, labels: Sequence[str] = LABELS, fingerprint: str = FINGERPRINT,
                         task: str = "text-classification", card: str = "", corruption: Corruption = NONE) -> Path:
    """Write an adapter folder and return it; it is valid unless `corruption` says otherwise."""
    path.mkdir(parents=True)
    tensors = corruption.tensors(adapter_tensors(seed, len(labels)))
    files = {CONFIG_FILE: canonical_json(peft_config(has_head=bool(labels)) | corruption.config),
             WEIGHTS_FILE: corruption.weights(save(tensors)),
             CARD_FILE: (card or f"---\nlibrary_name: peft\n---\n# A test adapter, seed {seed}\n").encode()}
    manifest = corruption.manifest(manifest_of(files, tensors, seed=seed, labels=labels, fingerprint=fingerprint,
                                               task=task))
    for name, data in {**files, MANIFEST_FILE: manifest.to_bytes()}.items():
        (path / name).write_bytes(data)
    return path


def adapter_tensors(seed: int = 0, n_labels: int = len(LABELS)) -> Tensors:
    """Return seeded LoRA tensors, and a head where there are labels."""
    random = np.random.default_rng(seed)
    tensors: Tensors = {}
    for module in MODULES:
        tensors[f"{PREFIX}{module}.lora_A.weight"] = random.normal(size=(RANK, HIDDEN)).astype("f4")
        tensors[f"{PREFIX}{module}.lora_B.weight"] = random.normal(size=(HIDDEN, RANK)).astype("f4")
    if n_labels:
        tensors[f"{PREFIX}classifier.weight"] = random.normal(size=(n_labels, HIDDEN)).astype("f4")
        tensors[f"{PREFIX}classifier.bias"] = random.normal(size=n_labels).astype("f4")
    return tensors


def peft_config(*, has_head: bool = True) -> dict[str, Any]:
    """Return adapter_config.json's value as PEFT writes it, as far as it matters."""
    return {"peft_type": "LORA", "task_type": "SEQ_CLS" if has_head else None, "r": RANK, "lora_alpha": 4,
            "bias": "none", "target_modules": ["query"], "modules_to_save": ["classifier"] if has_head else None,
            "base_model_name_or_path": "embedded", "inference_mode": True}


def manifest_of(files: dict[str, bytes], tensors: Tensors, *, seed: int, labels: Sequence[str], fingerprint: str,
                task: str) -> Manifest:
    """Return the manifest that fits these files."""
    return Manifest(
        task=task, labels=list(labels),
        method=MethodFacts(name="lora", rank=RANK, target_modules=["query"], dtype="float32",
                           n_parameters=sum(array.size for array in tensors.values())),
        base=BaseFacts(id="embedded", revision=None, fingerprint=fingerprint, tokenizer_digest="e" * 64,
                       model_type="bert"),
        head=HeadFacts(modules=["classifier"] if labels else [], max_length=64),
        data=DataFacts(name="test rows", digest="d" * 64, n_rows={"train": 70, "validation": 15, "test": 15}),
        metrics=[Metric(name="accuracy", split="validation", value=0.8, n_rows=15),
                 Metric(name="accuracy", split="test", value=0.75, n_rows=15)],
        training=TrainingFacts(seed=seed, hyperparameters={"rate": 1e-3}, versions={"peft": "0"}, seconds=1.0,
                               peak_memory_bytes=1),
        probe=[ProbeRow(input_ids=[101, 7, 102], outputs=[0.0] * len(labels))],
        files={name: FileFacts(sha256=sha256_of_bytes(data), size_bytes=len(data)) for name, data in files.items()})


def names_in(folder: Path) -> list[str]:
    """Return the names of what lies in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def base_shapes(*, fingerprint: str = FINGERPRINT, n_layers: int = 2, hidden: int = HIDDEN) -> BaseShapes:
    """Return the shapes of the base that the tiny adapters fit."""
    shapes = {f"{module.removeprefix('bert.')}.weight".replace("layer.0", f"layer.{layer}"): (hidden, hidden)
              for layer in range(n_layers) for module in MODULES[:1]}
    return BaseShapes(fingerprint=fingerprint, prefix="bert",
                      shapes={**shapes, "embeddings.word_embeddings.weight": (100, hidden)})


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Write a folder's manifest anew with fields of its JSON replaced, whatever they are."""
    value = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_bytes(canonical_json({**value, **changes}))


def listed_anew(folder: Path) -> None:
    """Let the manifest state the digests that its files have now."""
    names = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
    files = {name: (folder / name).read_bytes() for name in names}
    edit_manifest(folder, files={name: {"sha256": sha256_of_bytes(data), "size_bytes": len(data)}
                                 for name, data in files.items()})


__all__ = ["FINGERPRINT", "LABELS", "MODULES", "Corruption", "adapter_tensors", "base_shapes", "edit_manifest",
           "listed_anew", "names_in", "write_adapter_folder"]
