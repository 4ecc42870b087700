"""An adapter made of others becomes a folder: PEFT's files, card, manifest and probe, then moved into place.

It knows what was made, not how.
"""

import importlib.metadata
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from adapterhub.adapter.card import CardFacts, CardTable, render_card
from adapterhub.adapter.check import SIZE_BUDGET, check_folder
from adapterhub.adapter.folder import CARD_FILE, CONTENT_FILES, AdapterFolder, VerifiedFiles, read_folder
from adapterhub.adapter.manifest import (
    FORMAT,
    MANIFEST_FILE,
    CombinationFacts,
    DataFacts,
    FileFacts,
    Manifest,
    MethodFacts,
    Metric,
    ProbeRow,
    TrainingFacts,
)
from adapterhub.adapter.peft_config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from adapterhub.bases.load import Base
from adapterhub.bases.processor import peak_memory_bytes
from adapterhub.combining.low_rank import Products
from adapterhub.combining.readers import Reader, reader_of
from adapterhub.errors import InvalidConfig
from adapterhub.files import canonical_json, folder_written_whole, read_json, sha256_of_file
from adapterhub.tasks.probe import draw_rows
from adapterhub.tasks.task import Evaluation
from adapterhub.tasks.usage import usage_of

Measure = Callable[[AdapterFolder], Evaluation]
"""Measures a folder on rows."""
Head = dict[str, torch.Tensor]
"""Parameter name inside the model with a head -> values."""
_VERSIONS = ("torch", "transformers", "peft", "adapterhub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """An adapter that another is made of."""

    files: VerifiedFiles
    reference: str
    """`namespace/name@sha256:...`; `sha256:...` for a folder that is not published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A plain LoRA adapter before it is written."""

    products: Products
    """The base's name of a layer -> its change, as the file will give it back."""
    head: Head
    dtype: str
    """Of the stored tensors: `float16` or `float32`."""
    like: Manifest
    """Whose task, labels, head and length of texts it has."""
    parents: tuple[Parent, ...]
    data: DataFacts
    combination: CombinationFacts
    seed: int
    hyperparameters: dict[str, str | int | float | bool | None]
    seconds: float


def write_made(output: Path, made: Made, base: Base, measure: Measure | None = None) -> AdapterFolder:
    """Write the folder whole, with a probe that stock PEFT gave, and with the figures of `measure`.

    Raises InvalidConfig where it would be no small file any more; DataError where `output` is taken; StorageError.
    """
    reader = reader_of(made.like.task)
    _require_small(made, base)
    with folder_written_whole(output) as folder:
        n_parameters = _write_peft_files(folder, made, base, reader)
        manifest = _manifest(made, base, n_parameters, _probe(folder, base, reader, made.like.labels))
        _describe(folder, manifest, made, base, reader)
        content = read_folder(folder)
        check_folder(content, base.shapes)
        if measure is not None:
            evaluation = measure(content)
            metrics = [Metric(name=name, split="test", value=value, n_rows=evaluation.n_rows)
                       for name, value in evaluation.metrics.items()]
            _describe(folder, replace(manifest, metrics=metrics), made, base, reader)
    return read_folder(output)


def smallest_dtype(parents: Sequence[Parent], products: Products, head: Head) -> str:
    """Return the type to store: float16 where every parent has it and no value is too large for it, else float32."""
    if {parent.files.manifest.method.dtype for parent in parents} != {"float16"}:
        return "float32"
    largest = [float(np.abs(array).max()) for product in products.values() for array in (product.a, product.b)]
    largest += [float(value.abs().max()) for value in head.values()]
    return "float16" if max(largest) < torch.finfo(torch.float16).max else "float32"


def is_transposed(base: Base) -> bool:
    """Say whether the base's weights are [I, O], as in GPT-2's layers."""
    return any(isinstance(module, Conv1D) for module in base.skeleton.modules())


def _require_small(made: Made, base: Base) -> None:
    n_elements = sum(value.numel() for value in made.head.values())
    n_elements += sum(product.a.size + product.b.size for product in made.products.values())
    size, whole = n_elements * np.dtype(made.dtype).itemsize, 4 * sum(map(math.prod, base.shapes.shapes.values()))
    if size > SIZE_BUDGET * whole:
        rank = max(product.rank for product in made.products.values())
        raise InvalidConfig(f"Of rank {rank} it would have {size:,} bytes, more than half of its base ({whole:,}).",
                            hint="Give a lower --rank; a merge has one with --method svd.")


def _write_peft_files(folder: Path, made: Made, base: Base, reader: Reader) -> int:
    """Write the configuration and the tensors as PEFT would; return how many elements the tensors have."""
    prefix = f"{base.shapes.prefix}." if _has_prefix(reader, base) else ""
    ranks = {f"{prefix}{layer}": product.rank for layer, product in made.products.items()}
    rank = max(ranks.values())
    other = {layer: own for layer, own in ranks.items() if own != rank}
    targets = _targets(made.products, base, prefix)
    config = LoraConfig(task_type=reader.task.peft_task_type, r=rank, lora_alpha=rank, target_modules=targets,
                        rank_pattern=other, alpha_pattern=dict(other), fan_in_fan_out=is_transposed(base),
                        inference_mode=True)
    config.save_pretrained(str(folder))
    raw = read_json(folder / CONFIG_FILE)
    raw |= {"base_model_name_or_path": base.hub_id, "revision": base.source.revision, "target_modules": targets,
            "modules_to_save": list(dict.fromkeys(made.like.head.modules)) or None}
    (folder / CONFIG_FILE).write_bytes(canonical_json(raw))
    dtype = getattr(torch, made.dtype)
    state = {f"{PREFIX}{name}": value.to(dtype).contiguous() for name, value in made.head.items()}
    for layer, product in made.products.items():
        for suffix, array in ((".lora_A.weight", product.a), (".lora_B.weight", product.b)):
            state[f"{PREFIX}{prefix}{layer}{suffix}"] = torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    return sum(value.numel() for value in state.values())


def _has_prefix(reader: Reader, base: Base) -> bool:
    """Say whether the task's model holds the base under its prefix, rather than being the base itself."""
    with torch.device("meta"):
        model: nn.Module = reader.task.auto_class.from_config(base.config)
    return hasattr(model, base.shapes.prefix)


def _targets(products: Products, base: Base, prefix: str) -> list[str]:
    """Name the layers by what follows their number where that means these layers alone, else in full."""
    weights = {name.removesuffix(".weight") for name, shape in base.shapes.shapes.items()
               if name.endswith(".weight") and len(shape) == 2}
    ends = {_after_number(layer) for layer in products}
    meant = {layer for layer in weights if any(layer == end or layer.endswith(f".{end}") for end in ends)}
    return sorted(ends) if meant == products.keys() else sorted(f"{prefix}{layer}" for layer in products)


def _after_number(layer: str) -> str:
    parts = layer.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdecimal()]
    return ".".join(parts[numbers[-1] + 1:]) if numbers else layer


def _probe(folder: Path, base: Base, reader: Reader, labels: list[str]) -> list[ProbeRow]:
    """Return what stock PEFT computes with the written files; it is loaded in any case, to see that it can be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of what it leaves to us, such as a missing card
        model = PeftModel.from_pretrained(reader.load(base, labels), str(folder))
    rows = draw_rows(base.tokenizer)
    return [ProbeRow(input_ids=row, outputs=[round(value, 7) for value in output.tolist()])
            for row, output in zip(rows, reader.outputs(model, rows), strict=True)]


def _manifest(made: Made, base: Base, n_parameters: int, probe: list[ProbeRow]) -> Manifest:
    rank = max(product.rank for product in made.products.values())
    head = replace(made.like.head, modules=list(dict.fromkeys(made.like.head.modules)))  # PEFT may name one twice
    return Manifest(
        format=FORMAT, task=made.like.task, labels=list(made.like.labels), base=base.facts, data=made.data, metrics=[],
        method=MethodFacts(name="lora", rank=rank, n_parameters=n_parameters, dtype=made.dtype,
                           target_modules=sorted({_after_number(layer) for layer in made.products})),
        head=head, parents=[parent.reference for parent in made.parents], combination=made.combination,
        training=TrainingFacts(seed=made.seed, hyperparameters=made.hyperparameters, seconds=round(made.seconds, 1),
                               versions={name: importlib.metadata.version(name) for name in _VERSIONS},
                               peak_memory_bytes=peak_memory_bytes()),
        probe=probe, files={})


def _describe(folder: Path, manifest: Manifest, made: Made, base: Base, reader: Reader) -> None:
    """Write card and manifest, the manifest last, with the digests of what lies there."""
    (folder / CARD_FILE).write_text(_card(manifest, made, base, reader), encoding="utf-8")
    files = {name: FileFacts(sha256=sha256_of_file(folder / name), size_bytes=(folder / name).stat().st_size)
             for name in CONTENT_FILES}
    (folder / MANIFEST_FILE).write_bytes(replace(manifest, files=files).to_bytes())


def _card(manifest: Manifest, made: Made, base: Base, reader: Reader) -> str:
    errors = sorted(made.combination.layer_errors.items(), key=lambda item: (-item[1], item[0]))
    table = CardTable(title="Error of each layer", header=("layer", "relative Frobenius error"),
                      lines=[(layer, f"{error:.2e}") for layer, error in errors])
    return render_card(CardFacts(
        task=manifest.task, labels=manifest.labels, method=manifest.method, base=manifest.base, hub_base=base.hub_id,
        data=manifest.data, metrics=manifest.metrics, training=manifest.training, tables=[table],
        usage=usage_of(reader.task, base.hub_id, len(manifest.labels)), origin=_origin(manifest, made.combination)))


def _origin(manifest: Manifest, how: CombinationFacts) -> str:
    """Tell in words what was made of what, and how far it is from it."""
    parents = "\n".join(f"- `{parent}`, weight {weight:g}" for parent, weight in
                        zip(manifest.parents, how.weights, strict=True))
    done = (f"Merged by PEFT's `{how.method}` of:\n\n{parents}\n" if how.action == "merge"
            else f"Converted to plain LoRA of rank {manifest.method.rank} from `{how.method}`:\n\n{parents}\n")
    head = (f"The head is that of `{how.head_from}`. " if how.head_from
            else "The heads were averaged by the weights. " if manifest.head.modules else "")
    error = (f"Its change differs from {'their weighted sum' if how.action == 'merge' else 'that change'} by "
             f"{how.relative_error:.2e} (relative Frobenius norm over all layers)")
    probe = "" if how.output_difference is None else (
        f", and its outputs on the probe by {how.output_difference:.2e} of the largest output")
    measured = ("" if manifest.metrics else " It was not measured on rows: the figures of its parents are not its own.")
    return f"{done}\n{head}{error}{probe}.{measured}"
