"""Several adapters of one base become one, by PEFT's add_weighted_adapter; how far it is from their sum is measured."""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.contents import AdapterTensors
from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.manifest import CombinationFacts, DataFacts
from adapterhub.adapter.peft_config import PREFIX, require_served
from adapterhub.bases.load import Base
from adapterhub.combining.changes import beside_products, method_name, products_of, why_base_is_needed
from adapterhub.combining.heads import averaged_head, own_head
from adapterhub.combining.low_rank import LowRank, Products, difference_norm, total
from adapterhub.combining.made import Made, Measure, Parent, is_transposed, smallest_dtype, write_made
from adapterhub.errors import BaseMismatch, InvalidConfig, UnknownName
from adapterhub.files import canonical_json, sha256_of_bytes

METHODS = ("cat", "svd", "linear", "ties", "ties_svd", "dare_linear", "dare_linear_svd", "dare_ties", "dare_ties_svd",
           "magnitude_prune", "magnitude_prune_svd")
"""PEFT's combination types: `cat` is exact, `svd` the best of its rank, `linear` adds A's and B's apart."""
_EQUAL_RANKS = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
_MERGED = "merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """How adapters are merged."""

    weights: tuple[float, ...]
    """One for each adapter."""
    method: str = "cat"
    rank: int | None = None
    """Of the result, for the methods that end in `svd`; None means the highest of the parents'."""
    density: float = 0.5
    """Share of the values that pruning methods keep, above 0 and at most 1."""
    head_from: int | None = None
    """Which adapter's task, labels and head it has; None averages the heads of one task."""
    seed: int = 0
    """For the methods that drop values at random."""

    def __post_init__(self) -> None:
        """Raise InvalidConfig or UnknownName for what no adapters could be merged by."""
        if self.method not in METHODS:
            raise UnknownName("merge method", self.method, METHODS)
        if not all(map(math.isfinite, self.weights)) or not any(self.weights):
            raise InvalidConfig(f"The weights are {list(self.weights)}, expected finite numbers, not all zero.")
        if not 0 < self.density <= 1:
            raise InvalidConfig(f"density is {self.density}, expected above 0 and at most 1.")
        if self.rank is not None and (self.rank < 1 or not self.method.endswith("svd")):
            raise InvalidConfig(f"rank is {self.rank} for {self.method}, which "
                                f"{'needs at least 1' if self.rank < 1 else 'has its rank from the adapters'}.",
                                hint="Give --rank 1 or more, with a method that ends in svd.")


def merge(parents: Sequence[Parent], config: MergeConfig, base: Base, output: Path,
          measure: Measure | None = None) -> AdapterFolder:
    """Merge adapters into a new folder and return it.

    Raises BaseMismatch, InvalidConfig for adapters that cannot be merged so; InvalidFolder for a damaged one.
    """
    started = time.perf_counter()
    _require_merging(parents, config)
    tensors = [check_folder(_served(parent), base.shapes) for parent in parents]
    if config.head_from is None:
        head, like = averaged_head(parents, tensors, config.weights), parents[0].files.manifest
    else:
        head, like = own_head(tensors[config.head_from]), parents[config.head_from].files.manifest
    changes = [_changes(parent, one, base) for parent, one in zip(parents, tensors, strict=True)]
    _require_ranks(parents, changes, config)
    products = _merged(changes, config, base)
    dtype = smallest_dtype(parents, products, head)
    products = {layer: change.rounded(dtype) for layer, change in products.items()}
    errors, whole = _errors(products, changes, config.weights)
    combination = CombinationFacts(
        action="merge", method=config.method, weights=list(config.weights), relative_error=whole, layer_errors=errors,
        output_difference=None,
        head_from=None if config.head_from is None else parents[config.head_from].reference)
    made = Made(products=products, head=head, dtype=dtype, like=like, parents=tuple(parents), data=_data(parents),
                combination=combination, seed=config.seed, hyperparameters=_settings(config),
                seconds=time.perf_counter() - started)
    return write_made(output, made, base, measure)


def _require_merging(parents: Sequence[Parent], config: MergeConfig) -> None:
    if len(parents) < 2:
        raise InvalidConfig(f"{len(parents)} adapter is given, expected at least two to merge.")
    if len(config.weights) != len(parents):
        raise InvalidConfig(f"There are {len(config.weights)} weights for {len(parents)} adapters.",
                            hint="Give one for each, for instance --weights 0.7,0.3.")
    first = parents[0].files.manifest.base.fingerprint
    for parent in parents:
        found = parent.files.manifest.base.fingerprint
        if found != first:
            raise BaseMismatch(parent.reference, found, first)
        settings = _served(parent).config
        reason = "it scales activations" if settings.is_ia3 else why_base_is_needed(settings)
        if reason := reason or "; ".join(beside_products(settings)):
            raise InvalidConfig(f"{parent.reference} is {method_name(settings)}, which cannot be merged: {reason}.",
                                hint="Make it plain LoRA first: adapterhub convert ADAPTER --rank 16 --output FOLDER.")


def _served(parent: Parent) -> AdapterFolder:
    assert isinstance(parent.files, AdapterFolder), "adapters of known methods are merged"
    require_served(parent.files.config, parent.files.path)
    return parent.files


def _changes(parent: Parent, tensors: AdapterTensors, base: Base) -> Products:
    """Return an adapter's changes by the base's own names, with one rank throughout: PEFT's merge knows no patterns."""
    products = products_of(tensors, _served(parent).config)
    rank = max(change.rank for change in products.values())
    return {base.shapes.strip(module): change.padded(rank) for module, change in products.items()}


def _require_ranks(parents: Sequence[Parent], changes: Sequence[Products], config: MergeConfig) -> None:
    ranks = [next(iter(products.values())).rank for products in changes]
    if config.method in _EQUAL_RANKS and len(set(ranks)) > 1:
        told = ", ".join(f"{parent.reference} {rank}" for parent, rank in zip(parents, ranks, strict=True))
        raise InvalidConfig(f"Method {config.method} needs equal ranks, found {told}.",
                            hint="Give --method cat, which is exact, or --method svd with --rank.")
    smallest = min(min(change.shape) for products in changes for change in products.values())
    if config.rank is not None and config.rank > smallest:
        raise InvalidConfig(f"rank is {config.rank}, the smallest layer has {smallest} inputs or outputs.",
                            hint=f"Give --rank {smallest} or less.")


def _merged(changes: Sequence[Products], config: MergeConfig, base: Base) -> Products:
    """Let PEFT merge: every parent is laid on the base as a LoRA whose scaling is 1.

    So PEFT cannot take over one parent's rsLoRA, which in 0.21 multiplies the result by the root of its rank.
    """
    names = [f"parent{number}" for number in range(len(changes))]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of several adapters on one model, which is what is wanted here
        model: Any = _laid_on(base, names, changes)
        torch.manual_seed(config.seed)
        model.base_model.add_weighted_adapter(
            names, list(config.weights), _MERGED, combination_type=config.method, svd_rank=config.rank,
            svd_full_matrices=False, density=config.density)
    state = get_peft_model_state_dict(model, adapter_name=_MERGED, save_embedding_layers=False)
    arrays = {name.removeprefix(PREFIX): value.detach().double().numpy() for name, value in state.items()}
    return {layer: LowRank(arrays[f"{layer}.lora_A.weight"], arrays[f"{layer}.lora_B.weight"])
            for layer in sorted({name.rpartition(".lora_")[0] for name in arrays})}


def _laid_on(base: Base, names: Sequence[str], changes: Sequence[Products]) -> PeftModel:
    model: Any = None
    for name, products in zip(names, changes, strict=True):
        rank = next(iter(products.values())).rank
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(products),
                            fan_in_fan_out=is_transposed(base))
        if model is None:
            model = get_peft_model(base.load_trunk(), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
        state = {f"{PREFIX}{layer}{suffix}": torch.from_numpy(array.astype(np.float32))
                 for layer, change in products.items()
                 for suffix, array in ((".lora_A.weight", change.a), (".lora_B.weight", change.b))}
        result: Any = set_peft_model_state_dict(model, state, adapter_name=name)
        assert not result.unexpected_keys, f"PEFT did not expect {result.unexpected_keys[:3]}"
    assert isinstance(model, PeftModel), "there are at least two adapters"
    return model


def _errors(products: Products, changes: Sequence[Products],
            weights: Sequence[float]) -> tuple[dict[str, float], float]:
    """Return each layer's relative error to the weighted sum, and that of all layers together."""
    errors, differences, wholes = {}, 0.0, 0.0
    for layer, product in products.items():
        wanted = total([own[layer].times(weight) for own, weight in zip(changes, weights, strict=True)
                        if layer in own])
        difference, whole = difference_norm(product, wanted), wanted.norm
        errors[layer] = difference / whole if whole else 0.0
        differences, wholes = differences + difference ** 2, wholes + whole ** 2
    return errors, math.sqrt(differences / wholes) if wholes else 0.0


def _data(parents: Sequence[Parent]) -> DataFacts:
    """Name the parents' data; no rows are the merged adapter's own."""
    known = [parent.files.manifest.data for parent in parents]
    licences, sources = ({data.licence for data in known}, {data.source for data in known})
    return DataFacts(name=" + ".join(dict.fromkeys(data.name for data in known)), n_rows={},
                     digest=sha256_of_bytes(canonical_json([data.digest for data in known])),
                     licence=licences.pop() if len(licences) == 1 else "",
                     source=sources.pop() if len(sources) == 1 else "")


def _settings(config: MergeConfig) -> dict[str, str | int | float | bool | None]:
    found: dict[str, str | int | float | bool | None] = {"method": config.method, "rank": config.rank}
    return found | ({"density": config.density} if config.method.startswith(("ties", "dare", "magnitude")) else {})
