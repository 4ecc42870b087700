"""An adapter of any method that changes weights becomes plain LoRA of a given rank, and says how far it is from it."""

import math
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from peft import convert_to_lora
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.manifest import CombinationFacts
from adapterhub.adapter.peft_config import PREFIX
from adapterhub.bases.load import Base
from adapterhub.combining.in_peft import Adapted, Weights, load_adapted, merged_weights
from adapterhub.combining.low_rank import LowRank, Products
from adapterhub.combining.made import Made, Measure, Parent, smallest_dtype, write_made
from adapterhub.combining.readers import reader_of
from adapterhub.errors import InvalidConfig, InvalidFolder
from adapterhub.tasks.probe import draw_rows

_NOISE = 1e-6
"""A change below this share of its weight is the rounding of a float32 merge, and no change."""


def convert(parent: Parent, rank: int, base: Base, output: Path, measure: Measure | None = None) -> AdapterFolder:
    """Convert an adapter to plain LoRA in a new folder and return it.

    Raises InvalidConfig for a rank that a layer cannot have; InvalidFolder for a method that changes more than the
    weights of linear layers; BaseMismatch for another base.
    """
    started = time.perf_counter()
    if rank < 1:
        raise InvalidConfig(f"rank is {rank}, expected at least 1.")
    files, reader = parent.files, reader_of(parent.files.manifest.task)
    adapted = load_adapted(files, base, reader)
    rows = draw_rows(base.tokenizer)
    outputs = reader.outputs(adapted.model, rows)
    made_by_peft = _products_by_peft(adapted, rank, base)
    changes = _changes(merged_weights(adapted, files), adapted, parent)
    wanted = {base.shapes.strip(name): change for name, change in changes.items()}
    _require_rank(rank, wanted)
    products = made_by_peft or {layer: _truncated(change, rank) for layer, change in wanted.items()}
    dtype = smallest_dtype((parent,), products, adapted.head)
    products = {layer: product.rounded(dtype) for layer, product in products.items()}
    errors, whole = _errors(products, wanted)
    combination = CombinationFacts(
        action="convert", method=adapted.method, weights=[1.0],
        head_from=parent.reference if adapted.head else None, relative_error=whole, layer_errors=errors,
        output_difference=_output_difference(products, adapted, base, outputs, rows, parent))
    made = Made(products=products, head=adapted.head, dtype=dtype, like=files.manifest, parents=(parent,),
                data=files.manifest.data, combination=combination, seed=files.manifest.training.seed,
                hyperparameters={"rank": rank}, seconds=time.perf_counter() - started)
    return write_made(output, made, base, measure)


def _products_by_peft(adapted: Adapted, rank: int, base: Base) -> Products:
    """Return PEFT's own conversion; nothing where it has none, or would leave a part of the change out.

    PEFT 0.21 says that it converts DoRA, and drops the magnitudes; of PiSSA it knows only the end, not the start.
    """
    model = adapted.model
    moves = isinstance(getattr(adapted.config, "init_lora_weights", True), str)
    if moves or adapted.method == "dora" or not model.supports_lora_conversion():
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that LoRA needs no conversion: its rank may
            _, state = convert_to_lora(model, rank=rank)
    except ValueError:  # a rank too large, or trained biases: both are told where the merged weights are looked at
        return {}
    arrays = {name.removeprefix(PREFIX): value.double().numpy() for name, value in state.items() if ".lora_" in name}
    modules = sorted({name.rpartition(".lora_")[0] for name in arrays})
    return {base.shapes.strip(module): LowRank(arrays[f"{module}.lora_A.weight"], arrays[f"{module}.lora_B.weight"])
            for module in modules}


def _changes(merged: PreTrainedModel, adapted: Adapted, parent: Parent) -> Weights:
    """Return what the adapter adds to each linear layer's weight, as [O, I].

    Raises InvalidFolder where it changes anything else, or nothing at all.
    """
    modules, changes, others = dict(merged.named_modules()), {}, []
    for name, value in merged.state_dict().items():
        before = adapted.untouched[name]
        change = value.detach().float() - before.float()
        if float(change.norm()) <= _NOISE * float(before.float().norm()):
            continue
        module_name, _, parameter = name.rpartition(".")
        module = modules[module_name]
        if parameter != "weight" or not isinstance(module, (nn.Linear, Conv1D)):
            others.append(name)
        else:
            changes[module_name] = change.T if isinstance(module, Conv1D) else change
    if others:
        fault = f"{adapted.method} changes {others[0]}, which plain LoRA cannot hold"
        raise InvalidFolder(str(parent.files.path), [fault],
                            hint="Serve it as it is, or train the task again with LoRA.")
    if not changes:
        raise InvalidFolder(str(parent.files.path), [f"{adapted.method} changes no weight of its base"])
    return changes


def _require_rank(rank: int, wanted: Weights) -> None:
    layer, change = min(wanted.items(), key=lambda item: min(item[1].shape))
    if rank > min(change.shape):
        raise InvalidConfig(f"rank is {rank}, the layer {layer} is {list(change.shape)}.",
                            hint=f"Give --rank {min(change.shape)} or less; that much holds every change exactly.")


def _truncated(change: torch.Tensor, rank: int) -> LowRank:
    """Return the nearest product of a rank. Source: Eckart and Young 1936, by the singular value decomposition."""
    u, s, v = torch.linalg.svd(change.double(), full_matrices=False)
    return LowRank(v[:rank].numpy(), (u[:, :rank] * s[:rank]).numpy())


def _errors(products: Products, wanted: Weights) -> tuple[dict[str, float], float]:
    """Return each layer's relative error to the change that PEFT merges, and that of all layers together."""
    errors, differences, wholes = {}, 0.0, 0.0
    for layer in sorted(products.keys() | wanted.keys()):
        product = products[layer].b @ products[layer].a if layer in products else np.zeros(1)
        change = wanted[layer].double().numpy() if layer in wanted else np.zeros(1)
        difference, whole = float(np.linalg.norm(product - change)), float(np.linalg.norm(change))
        errors[layer] = difference / whole if whole else 0.0
        differences, wholes = differences + difference ** 2, wholes + whole ** 2
    return errors, math.sqrt(differences / wholes)


def _output_difference(products: Products, adapted: Adapted, base: Base, outputs: list[torch.Tensor],
                       rows: list[list[int]], parent: Parent) -> float:
    """Return how far the base with the products in its weights answers from the adapter, by its largest output."""
    reader = reader_of(parent.files.manifest.task)
    model = reader.load(base, parent.files.manifest.labels)
    model.load_state_dict(adapted.untouched)
    with torch.no_grad():
        for name, module in model.named_modules():
            product = products.get(base.shapes.strip(name))
            if product is not None and isinstance(module, (nn.Linear, Conv1D)):
                change = torch.from_numpy(product.b @ product.a).float()
                module.weight += change.T if isinstance(module, Conv1D) else change
    found = reader.outputs(model, rows)
    largest = max(float(output.abs().max()) for output in outputs)
    return max(float((one - other).abs().max()) for one, other in zip(found, outputs, strict=True)) / largest
