"""What the registry's benchmark works on: one large adapter folder, and a registry of very many small ones."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

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
    TrainingFacts,
)
from adapterhub.adapter.peft_config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from adapterhub.files import canonical_json, sha256_of_bytes
from adapterhub.registry import layout
from adapterhub.registry.records import ClaimRecord, MoveRecord, VersionRecord, to_bytes

RANK = 8
AT = "2026-01-01T00:00:00+00:00"
TOPICS = ("bank", "travel", "health", "sport", "law", "music", "food", "news", "code", "school")


def folder_files(*, seed: int, hidden: int, n_layers: int) -> dict[str, bytes]:
    """Return the four files of a valid LoRA adapter of about `n_layers * hidden * 64` bytes."""
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(n_layers):
        module = f"{PREFIX}bert.encoder.layer.{layer}.attention.self.query"
        tensors[f"{module}.lora_A.weight"] = random.standard_normal((RANK, hidden), dtype=np.float32)
        tensors[f"{module}.lora_B.weight"] = random.standard_normal((hidden, RANK), dtype=np.float32)
    topic = TOPICS[seed % len(TOPICS)]
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "bias": "none", "target_modules": ["query"]}
    files = {CONFIG_FILE: canonical_json(config), WEIGHTS_FILE: save(tensors),
             CARD_FILE: f"# Questions about {topic}\n\nAn adapter for {topic}, number {seed}.\n".encode()}
    manifest = Manifest(
        task="text-embedding", labels=[],
        method=MethodFacts(name="lora", rank=RANK, target_modules=["query"], dtype="float32",
                           n_parameters=sum(array.size for array in tensors.values())),
        base=BaseFacts(id="embedded", revision=None, fingerprint="f" * 64, tokenizer_digest="e" * 64,
                       model_type="bert"),
        head=HeadFacts(modules=[], max_length=64),
        data=DataFacts(name=f"{topic} rows", digest="d" * 64, n_rows={"train": 70, "test": 30}),
        metrics=[Metric(name="accuracy", split="test", value=(seed % 1000) / 1000, n_rows=30)],
        training=TrainingFacts(seed=seed, hyperparameters={}, versions={}, seconds=1.0, peak_memory_bytes=1),
        probe=[], files={name: FileFacts(sha256=sha256_of_bytes(data), size_bytes=len(data))
                         for name, data in files.items()})
    return {**files, MANIFEST_FILE: manifest.to_bytes()}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """Write an adapter folder."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


class ManyAdapters:
    """Writes a registry's own files without its syncs, since it is made for one run: a thousandth of the time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = folder_files(seed=0, hidden=16, n_layers=1)

    def add(self, numbers: range) -> None:
        """Add adapter `number`, each with one version and the alias `production`."""
        for number in numbers:
            self._add(number)

    def _add(self, number: int) -> None:
        topic, path = TOPICS[number % len(TOPICS)], path_of(number)
        card = f"# Questions about {topic}\n\nAn adapter for {topic}, number {number}.\n".encode()
        files = {**self._files, CARD_FILE: card}
        manifest = replace(_manifest_of(self._files), data=DataFacts(name=f"{topic} rows", digest="d" * 64, n_rows={}),
                           metrics=[Metric(name="accuracy", split="test", value=(number % 1000) / 1000, n_rows=30)],
                           files={name: FileFacts(sha256=sha256_of_bytes(data), size_bytes=len(data))
                                  for name, data in files.items() if name != MANIFEST_FILE})
        files[MANIFEST_FILE] = manifest.to_bytes()
        digest = sha256_of_bytes(files[MANIFEST_FILE])
        records = {layout.CLAIM_FILE: to_bytes(ClaimRecord(id="c", at=AT)),
                   layout.VERSION_FILE: to_bytes(VersionRecord(
                       version=1, digest=digest, size_bytes=sum(map(len, files.values())), published_at=AT, claim="c"))}
        self._write(layout.version_key(path, 1), files | records)
        move = MoveRecord(version=1, digest=digest, at=AT, action="promote", previous=None, restores=None)
        self._write(layout.alias_key(path, "production"), {"1.json": to_bytes(move)})

    def _write(self, key: str, files: dict[str, bytes]) -> None:
        folder = self._root / key
        folder.mkdir(parents=True)
        for name, data in files.items():
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(handle, data)
            os.close(handle)


def path_of(number: int) -> str:
    """Return the name of adapter `number`: a thousand per namespace."""
    return f"team{number // 1000}/task{number % 1000}"


def _manifest_of(files: dict[str, bytes]) -> Manifest:
    from adapterhub.adapter.manifest import parse_manifest

    return parse_manifest(files[MANIFEST_FILE], "the pattern")
