"""A trained state becomes an adapter folder: written by PEFT, described, proved by a reload, then moved into place."""

import importlib.metadata
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from adapterhub.adapter.card import CardTable
from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import CARD_FILE, CONTENT_FILES, AdapterFolder, read_folder
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
from adapterhub.bases.load import Base
from adapterhub.bases.processor import peak_memory_bytes
from adapterhub.errors import TrainingError
from adapterhub.files import canonical_json, folder_written_whole, read_json, sha256_of_file
from adapterhub.tasks.loading import load_for
from adapterhub.tasks.probe import draw_rows, probe_examples
from adapterhub.tasks.task import Evaluation, Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.describe import card_of
from adapterhub.training.evaluate import compute_outputs
from adapterhub.training.methods import State, TrainedModel

PROBE_TOLERANCE = 1e-5
"""Largest difference between the trained model's probe and a stock PEFT reload, float32 on one machine."""
_VERSIONS = ("torch", "transformers", "peft", "accelerate", "adapterhub")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """What the folder says beside its tensors."""

    labels: list[str]
    data: DataFacts
    metrics: list[Metric]
    evaluation: Evaluation
    """On the test rows, for the card's tables."""
    parents: list[str]
    seconds: float
    dtype: torch.dtype
    """Of the stored tensors."""
    tables: list[CardTable]
    """What the card tells beside its metrics and per-class tables."""
    command: str
    found: dict[str, int]
    """What was found in the rows and done to them: name -> count."""


Prove = Callable[[AdapterFolder, Base], object]
"""A further proof of a written folder: raises where it fails."""


def export_folder(output: Path, config: TrainConfig, base: Base, task: Task, trained: TrainedModel,
                  facts: ExportFacts, prove: Prove | None = None) -> None:
    """Write the adapter folder whole, after a reload through stock PEFT gave the same probe outputs.

    Raises TrainingError where it did not, or what `prove` raises; DataError where `output` is taken; StorageError where
    it cannot be written.
    """
    state = {name: value.to(facts.dtype) for name, value in trained.state().items()}
    probe = _probe(trained.model, task, base)
    with folder_written_whole(output) as folder, _tensor_errors_as_os_errors():
        _write_peft_files(folder, trained, state, base)
        manifest = _manifest(folder, config, base, task, trained, state, facts, probe)
        card = card_of(manifest, task, facts.evaluation, base, tables=facts.tables, command=facts.command)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
        (folder / MANIFEST_FILE).write_bytes(_with_files(manifest, folder).to_bytes())
        check_folder(read_folder(folder), base.shapes)
        _require_reload(folder, base, task, facts.labels, probe)
        if prove is not None:
            prove(read_folder(folder), base)


def export_whole_model(output: Path, trained: TrainedModel) -> None:
    """Write a fully fine-tuned model, for comparison. Raises as `export_folder`."""
    with folder_written_whole(output) as folder, _tensor_errors_as_os_errors():
        trained.model.save_pretrained(str(folder))


def rounded(state: State, dtype: torch.dtype) -> State:
    """Return a state as a file of `dtype` gives it back, in float32."""
    return {name: value.to(dtype).float() for name, value in state.items()}


@contextmanager
def _tensor_errors_as_os_errors() -> Iterator[None]:
    """Turn what safetensors raises where the system refuses to write into the OSError that it stands for."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _write_peft_files(folder: Path, trained: TrainedModel, state: State, base: Base) -> None:
    assert isinstance(trained.model, PeftModel), "only adapters are exported"
    trained.model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / CARD_FILE).unlink(missing_ok=True)  # PEFT's template holds 39 blanks; ours is filled in
    written = load_file(folder / WEIGHTS_FILE)
    if written.keys() != state.keys():
        raise TrainingError(f"PEFT wrote {len(written)} tensors, {len(state)} were trained.",
                            hint="This is a fault of the method's configuration; use the default targets.")
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    raw = read_json(folder / CONFIG_FILE)
    # PEFT writes this machine's path, and head names that the architecture does not have.
    raw |= {"base_model_name_or_path": base.hub_id, "revision": base.source.revision, "inference_mode": True,
            "modules_to_save": trained.head_modules or None}
    raw |= {"target_modules": sorted(trained.target_modules)} if trained.target_modules else {}
    (folder / CONFIG_FILE).write_bytes(canonical_json(raw))


def _manifest(folder: Path, config: TrainConfig, base: Base, task: Task, trained: TrainedModel, state: State,
              facts: ExportFacts, probe: list[ProbeRow]) -> Manifest:
    return Manifest(
        task=task.name, labels=facts.labels, base=base.facts, data=facts.data, metrics=facts.metrics,
        method=MethodFacts(name=config.method, rank=trained.rank, target_modules=sorted(trained.target_modules),
                           n_parameters=sum(value.numel() for value in state.values()),
                           dtype=str(facts.dtype).removeprefix("torch.")),
        head=HeadFacts(modules=trained.head_modules, max_length=config.length),
        training=TrainingFacts(seed=config.seed, hyperparameters=config.hyperparameters() | facts.found,
                               seconds=round(facts.seconds, 1),
                               versions={name: importlib.metadata.version(name) for name in _VERSIONS},
                               peak_memory_bytes=peak_memory_bytes()),
        parents=facts.parents, probe=probe, files={})


def _with_files(manifest: Manifest, folder: Path) -> Manifest:
    return replace(manifest, files={name: FileFacts(sha256=sha256_of_file(folder / name),
                                                    size_bytes=(folder / name).stat().st_size)
                                    for name in CONTENT_FILES})


def _probe(model: torch.nn.Module, task: Task, base: Base) -> list[ProbeRow]:
    """Run the fixed token sequences."""
    rows = draw_rows(base.tokenizer)
    examples = probe_examples(task, rows)
    outputs = compute_outputs(model.cpu(), task, examples, _pad_id(base))
    return [ProbeRow(input_ids=row, outputs=[round(value, 7) for value in output[0].flatten().tolist()])
            for row, output in zip(rows, outputs, strict=True)]


def _require_reload(folder: Path, base: Base, task: Task, labels: list[str], probe: list[ProbeRow]) -> None:
    fresh = load_for(base, task, labels)
    model = PeftModel.from_pretrained(fresh, str(folder))
    outputs = compute_outputs(model, task, probe_examples(task, [row.input_ids for row in probe]), _pad_id(base))
    for row, output in zip(probe, outputs, strict=True):
        difference = float((output[0].flatten() - torch.tensor(row.outputs)).abs().max())
        if not difference <= PROBE_TOLERANCE * max(1.0, max(abs(value) for value in row.outputs)):
            raise TrainingError(f"A reload through stock PEFT differs by {difference:.2e} on the probe.",
                                hint="The folder was not kept; report this with your configuration.")


def _pad_id(base: Base) -> int:
    return int(base.tokenizer.pad_token_id or 0)
