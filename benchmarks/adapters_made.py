"""Many distinct adapters for the embedded base, made from seeds: real names, shapes and files, invented values.

PEFT writes the first folder of a recipe; the others have its structure and their own tensors. Speed does not depend
on the values, and whether answers are right is compared with PEFT on the same folders.
"""

import json
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save
from transformers import AutoModelForSequenceClassification

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.adapter.manifest import (
    MANIFEST_FILE,
    DataFacts,
    FileFacts,
    HeadFacts,
    Manifest,
    MethodFacts,
    Metric,
    ProbeRow,
    TrainingFacts,
)
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE
from adapterhub.bases.load import Base, load_base
from adapterhub.files import canonical_json, sha256_of_bytes
from adapterhub.registry import Registry, Version
from adapterhub.settings import Settings

ALL_LINEAR = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
              "intermediate.dense", "output.dense")
"""Every linear layer inside BERT's repeated layers, as the trainer adapts them."""
SPREAD = 0.02
"""Standard deviation of B's values: trained adapters of this base have 0.01 to 0.03."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all adapters of one kind have in common."""

    rank: int = 8
    targets: tuple[str, ...] = ALL_LINEAR
    n_labels: int = 77
    head: tuple[str, ...] = ("classifier", "pooler")
    """Modules saved whole: the trainer's own head for BERT."""
    dtype: torch.dtype = torch.float16
    """Of the file, as the trainer stores it."""

    @property
    def labels(self) -> list[str]:
        """Names of the classes."""
        return [f"label {i}" for i in range(self.n_labels)]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder that is gone afterwards."""
    folder = Path(mkdtemp(prefix="adapterhub-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def embedded_base() -> Base:
    """Open the base that all benchmarks run on. Raises BaseNotFound where the extra `embedded` is not installed."""
    return load_base("embedded", cache=Settings.from_environment().cache)


def write_adapters(place: Path, base: Base, recipe: Recipe, seeds: Iterable[int]) -> list[Path]:
    """Write one folder for each seed below `place`, and return them in order."""
    template = _by_peft(place / ".template", base, recipe)
    state = load_file(template / WEIGHTS_FILE)
    # As the trainer writes it: PEFT names heads that other architectures have, and where the base lies on this disk.
    stated = {"modules_to_save": list(recipe.head), "base_model_name_or_path": base.source.id, "inference_mode": True}
    config = canonical_json(json.loads((template / CONFIG_FILE).read_bytes()) | stated)
    folders = []
    for seed in seeds:
        folder = place / f"adapter-{seed:05}"
        folder.mkdir()
        files = {CONFIG_FILE: config, WEIGHTS_FILE: save(_seeded(state, recipe, seed), {"format": "pt"}),
                 CARD_FILE: f"---\nlibrary_name: peft\n---\n# Made for a benchmark, seed {seed}\n".encode()}
        files[MANIFEST_FILE] = _manifest(base, recipe, seed, files, sum(map(torch.numel, state.values()))).to_bytes()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        folders.append(folder)
    return folders


def publish_all(registry: Registry, folders: Iterable[Path], namespace: str = "made") -> list[Version]:
    """Publish each folder under its own name."""
    return [registry.publish(folder, f"{namespace}/{folder.name}") for folder in folders]


def _by_peft(folder: Path, base: Base, recipe: Recipe) -> Path:
    """Let PEFT write a folder of this recipe."""
    config = LoraConfig(r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules=list(recipe.targets),
                        modules_to_save=list(recipe.head), task_type=TaskType.SEQ_CLS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's about a property that transformers renamed
        head_model = base.load_with_head(AutoModelForSequenceClassification, n_labels=recipe.n_labels)
        get_peft_model(head_model, config).to(recipe.dtype).save_pretrained(str(folder))
    return folder


def _seeded(state: dict[str, torch.Tensor], recipe: Recipe, seed: int) -> dict[str, torch.Tensor]:
    """Return tensors of the same names and shapes; heads scatter around the template's."""
    random = torch.Generator().manual_seed(seed)
    return {name: _values(name, value, random).to(recipe.dtype) for name, value in state.items()}


def _values(name: str, value: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    noise = torch.randn(value.shape, generator=random)
    if ".lora_A." in name:
        return noise / value.shape[1] ** 0.5
    return noise * SPREAD if ".lora_B." in name else value.float() + noise * SPREAD


def _manifest(base: Base, recipe: Recipe, seed: int, files: dict[str, bytes], n_parameters: int) -> Manifest:
    method = MethodFacts(name="lora", rank=recipe.rank, target_modules=list(recipe.targets), n_parameters=n_parameters,
                         dtype=str(recipe.dtype).removeprefix("torch."))
    described = invented_manifest(base, "text-classification", method, files, seed)
    return replace(described, labels=recipe.labels, base=replace(base.facts, id="embedded"),
                   head=HeadFacts(modules=list(recipe.head), max_length=128),
                   metrics=[Metric(name="accuracy", split="test", value=0.0, n_rows=0)],
                   probe=[ProbeRow(input_ids=[101, 102], outputs=[0.0] * recipe.n_labels)])


def invented_manifest(base: Base, task: str, method: MethodFacts, files: dict[str, bytes], seed: int) -> Manifest:
    """Return the manifest of an adapter without head, whose values were drawn and not trained."""
    return Manifest(
        task=task, labels=[], method=method, base=base.facts, head=HeadFacts(modules=[], max_length=base.max_length),
        data=DataFacts(name="none: invented values", digest="0" * 64, n_rows={"train": 0}), metrics=[], probe=[],
        training=TrainingFacts(seed=seed, hyperparameters={}, versions={}, seconds=0.0, peak_memory_bytes=0),
        files={name: FileFacts(sha256=sha256_of_bytes(data), size_bytes=len(data)) for name, data in files.items()})
