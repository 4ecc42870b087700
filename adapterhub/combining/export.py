"""An adapter merged into its base's weights: a whole transformers model in a folder, checked before it appears.

It is for those who must have full weights; it costs a copy of the base for each task.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCardData
from transformers import PreTrainedModel

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.adapter.front_matter import pipeline_of
from adapterhub.adapter.manifest import Manifest
from adapterhub.adapter.plain_text import made_harmless
from adapterhub.bases.load import Base, quiet_transformers
from adapterhub.combining.in_peft import load_adapted, merged_weights
from adapterhub.combining.made import Parent
from adapterhub.combining.readers import Reader, reader_of
from adapterhub.errors import InvalidFolder
from adapterhub.files import folder_written_whole
from adapterhub.tasks.probe import draw_rows

TOLERANCE = 1e-4
"""Largest difference of an output, by the largest: a merged weight is rounded once more than one with an adapter."""
RECORDED_TOLERANCE = 1e-3
"""To what the manifest recorded, on whatever machine that was; as `verify` has it."""

_PROBLEM_TYPES = {"text-classification": "single_label_classification", "text-regression": "regression",
                  "multi-label-classification": "multi_label_classification"}
"""By which stock transformers knows a softmax from sigmoids and from a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A whole model that was written."""

    folder: Path
    size_bytes: int
    """Of all its files."""
    output_difference: float
    """Largest difference of a probe's output to the adapter's, by the largest output."""


def export(parent: Parent, base: Base, output: Path) -> Exported:
    """Write base and adapter as one transformers model with its tokenizer; nothing appears unless its answers agree.

    Raises InvalidFolder where PEFT cannot merge the method, or an answer differs; BaseMismatch, DataError,
    StorageError.
    """
    manifest = parent.files.manifest
    reader, rows = reader_of(manifest.task), [row.input_ids for row in manifest.probe] or draw_rows(base.tokenizer)
    adapted = load_adapted(parent.files, base, reader)
    outputs = reader.outputs(adapted.model, rows)
    _require_recorded(parent, outputs)
    model = merged_weights(adapted, parent.files)
    if manifest.labels:
        model.config.id2label = dict(enumerate(manifest.labels))
        model.config.label2id = {label: number for number, label in enumerate(manifest.labels)}
    config: Any = model.config  # its problem_type is one of three literals
    config.problem_type = _PROBLEM_TYPES.get(manifest.task)
    with folder_written_whole(output) as folder, quiet_transformers():
        model.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        difference = _largest(reader.outputs(_reloaded(folder, reader), rows), outputs)
        if not difference <= TOLERANCE:
            raise InvalidFolder(parent.reference, [f"merged into the base's weights it answers otherwise, by "
                                                   f"{difference:.1e}"], hint="Serve it as an adapter instead.")
        (folder / CARD_FILE).write_text(_card(parent, base, reader, difference), encoding="utf-8")
    return Exported(folder=output, output_difference=difference,
                    size_bytes=sum(path.stat().st_size for path in output.rglob("*") if path.is_file()))


def _require_recorded(parent: Parent, outputs: list[torch.Tensor]) -> None:
    """Refuse an adapter that does not compute what it did when it was made, before it is given away whole."""
    for row, output in zip(parent.files.manifest.probe, outputs, strict=False):
        recorded = torch.tensor(row.outputs)
        if recorded.shape != output.shape or not _largest([output], [recorded]) <= RECORDED_TOLERANCE:
            raise InvalidFolder(parent.reference, ["its probe differs from what was recorded"],
                                hint="It does not compute what it did when it was made; do not use it.")


def _largest(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    largest = max(1e-12, *(float(output.abs().max()) for output in wanted))
    return max(float((one - other).abs().max()) for one, other in zip(found, wanted, strict=True)) / largest


def _reloaded(folder: Path, reader: Reader) -> PreTrainedModel:
    model: PreTrainedModel = reader.task.auto_class.from_pretrained(folder, local_files_only=True)
    return model


def _card(parent: Parent, base: Base, reader: Reader, difference: float) -> str:
    manifest = parent.files.manifest
    front = ModelCardData(base_model=base.hub_id, base_model_relation="finetune", library_name="transformers",
                          pipeline_tag=pipeline_of(reader.task.name), tags=["adapterhub", "merged"])
    auto_class = reader.task.auto_class.__name__
    return made_harmless("\n".join([
        f"---\n{front.to_yaml()}\n---\n",
        f"# {manifest.data.name}: {manifest.task}, merged\n",
        f"The adapter `{parent.reference}` merged into the weights of its base `{base.hub_id}` (fingerprint "
        f"`{manifest.base.fingerprint[:12]}`). On the adapter's probe the outputs of the two differ by "
        f"{difference:.1e} of the largest.\n",
        f"{len(manifest.labels)} labels, in the order of the outputs: {', '.join(manifest.labels)}.\n"
        if manifest.labels else "",
        _figures(manifest),
        f"```python\nfrom transformers import AutoTokenizer, {auto_class}\n\nfolder = \".\"  # where this card lies\n"
        f"model = {auto_class}.from_pretrained(folder).eval()\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n```\n"]))


def _figures(manifest: Manifest) -> str:
    if not manifest.metrics:
        return ""
    lines = [f"| {metric.name} | {metric.split} | {metric.n_rows} | {metric.value:.4f} |"
             for metric in manifest.metrics]
    return "\n".join(["Measured with the adapter beside its base:\n", "| metric | split | rows | value |",
                      "|---|---|---|---|", *lines, ""])
