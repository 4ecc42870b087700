"""Two adapters side by side: settings, labels, figures, heads, and the change of each layer in low rank."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.contents import Arrays
from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.peft_config import CONFIG_FILE
from adapterhub.combining.changes import Changes, changes_of, method_name
from adapterhub.combining.low_rank import LowRank, Products, cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field that differs, as JSON values; None where an adapter does not have it."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric of both; None where it was not measured."""

    name: str
    split: str
    first: float | None
    second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDifference:
    """How two adapters change one layer, or all of them together."""

    layer: str
    first_norm: float
    """Frobenius norm of the first one's change; 0 where it leaves the layer alone."""
    second_norm: float
    difference_norm: float
    """Of the one change less the other."""
    cosine: float | None
    """Between the two changes; None where one is zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadDifference:
    """One parameter of the heads."""

    name: str
    first_shape: tuple[int, ...] | None
    second_shape: tuple[int, ...] | None
    largest: float | None
    """The largest difference of two elements; None where the shapes do not agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All that two adapters differ in."""

    settings: tuple[Setting, ...]
    only_first_labels: tuple[str, ...]
    only_second_labels: tuple[str, ...]
    n_shared_labels: int
    figures: tuple[Figure, ...]
    layers: tuple[LayerDifference, ...]
    """Those that differ most come first."""
    whole: LayerDifference | None
    """All layers together; None where no change could be compared."""
    heads: tuple[HeadDifference, ...]
    not_compared: tuple[str, ...]
    """What could not be compared, and why, in words."""


def diff(first: AdapterFolder, second: AdapterFolder) -> Difference:
    """Compare two folders from their files alone; no base is loaded. Raises InvalidFolder where one is damaged."""
    one, two = check_folder(first), check_folder(second)
    changes, others = changes_of(one, first.config), changes_of(two, second.config)
    not_compared = _not_compared(first, changes, "first") + _not_compared(second, others, "second")
    products, other_products = changes.layers, _like(others.layers, changes.layers)
    lines: list[LayerDifference] = []
    if reason := _why_incomparable(first, second, changes, others) or _unequal_shapes(products, other_products):
        not_compared = (*not_compared, reason)
    else:
        lines = [_layer_difference(layer, products.get(layer), other_products.get(layer))
                 for layer in sorted(products.keys() | other_products.keys())]
    labels, other_labels = first.manifest.labels, second.manifest.labels
    return Difference(
        settings=_settings(first, second),
        only_first_labels=tuple(label for label in labels if label not in other_labels),
        only_second_labels=tuple(label for label in other_labels if label not in labels),
        n_shared_labels=len(set(labels) & set(other_labels)),
        figures=_figures(first, second), heads=_heads(one.head, two.head), not_compared=not_compared,
        layers=tuple(sorted(lines, key=lambda line: (-line.difference_norm, line.layer))),
        whole=_whole(lines, products, other_products) if lines else None)


def _not_compared(folder: AdapterFolder, changes: Changes, which: str) -> tuple[str, ...]:
    return tuple(f"the {which} is {method_name(folder.config)}: {reason}" for reason in changes.not_computed)


def _why_incomparable(first: AdapterFolder, second: AdapterFolder, changes: Changes, others: Changes) -> str:
    bases = (first.manifest.base.fingerprint, second.manifest.base.fingerprint)
    if bases[0] != bases[1]:
        return f"they change different bases ({bases[0][:12]} and {bases[1][:12]}), so their changes have no distance"
    if changes.kind != others.kind:
        return (f"{method_name(first.config)} and {method_name(second.config)} change different things, a weight and "
                "the scale of activations; convert them to LoRA to compare them")
    if not changes.layers or not others.layers:
        return "the changes of the layers; `adapterhub convert` makes plain LoRA of them, which can be compared"
    return ""


def _like(products: Products, others: Products) -> Products:
    """Name layers as the other adapter does: a model with a head has the base's prefix, one without has none."""
    if products.keys() & others.keys():
        return products
    stripped = {name.partition(".")[2]: change for name, change in products.items()}
    if stripped.keys() & others.keys():
        return stripped
    prefixes = {name.partition(".")[0] for name in others}
    longer = {f"{prefix}.{name}": change for prefix in prefixes for name, change in products.items()}
    return longer if len(prefixes) == 1 and longer.keys() & others.keys() else products


def _unequal_shapes(products: Products, others: Products) -> str:
    """Name a layer that the two take for different ones; no folder that fits its base has such a one."""
    unequal = sorted(layer for layer in products.keys() & others.keys()
                     if products[layer].shape != others[layer].shape)
    return f"the layer {unequal[0]} has different shapes in the two" if unequal else ""


def _layer_difference(layer: str, first: LowRank | None, second: LowRank | None) -> LayerDifference:
    first_norm, second_norm = (change.norm if change else 0.0 for change in (first, second))
    inner = first.inner(second) if first and second else 0.0
    return _line(layer, first_norm, second_norm, inner)


def _line(layer: str, first_norm: float, second_norm: float, inner: float) -> LayerDifference:
    squared = first_norm ** 2 + second_norm ** 2 - 2 * inner
    return LayerDifference(layer=layer, first_norm=first_norm, second_norm=second_norm,
                           difference_norm=math.sqrt(max(squared, 0.0)),
                           cosine=cosine(inner, first_norm, second_norm))


def _whole(lines: list[LayerDifference], products: Products, others: Products) -> LayerDifference:
    """Treat all layers' changes as one vector."""
    inner = sum(products[layer].inner(others[layer]) for layer in products.keys() & others.keys())
    return _line("all layers", math.sqrt(sum(line.first_norm ** 2 for line in lines)),
                 math.sqrt(sum(line.second_norm ** 2 for line in lines)), inner)


def _settings(first: AdapterFolder, second: AdapterFolder) -> tuple[Setting, ...]:
    one, two = _facts(first), _facts(second)
    return tuple(Setting(name=name, first=one.get(name), second=two.get(name))
                 for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name))


def _facts(folder: AdapterFolder) -> dict[str, Any]:
    """Return every setting under one name each: PEFT's own, then what the manifest adds."""
    manifest = folder.manifest
    raw: Mapping[str, Any] = json.loads(folder.files[CONFIG_FILE])
    config = {name: sorted(map(str, value)) if name in ("target_modules", "modules_to_save") and isinstance(value, list)
              else value for name, value in raw.items()}
    return {**{f"config.{name}": value for name, value in config.items()},
            **{f"training.{name}": value for name, value in manifest.training.hyperparameters.items()},
            "task": manifest.task, "base": manifest.base.id, "base.revision": manifest.base.revision,
            "base.fingerprint": manifest.base.fingerprint, "data": manifest.data.name,
            "data.digest": manifest.data.digest, "dtype": manifest.method.dtype,
            "parameters": manifest.method.n_parameters, "max_length": manifest.head.max_length,
            "seed": manifest.training.seed}


def _figures(first: AdapterFolder, second: AdapterFolder) -> tuple[Figure, ...]:
    names = dict.fromkeys((metric.name, metric.split) for folder in (first, second)
                          for metric in folder.manifest.metrics)
    return tuple(Figure(name=name, split=split, first=first.manifest.metric(name, split),
                        second=second.manifest.metric(name, split)) for name, split in names)


def _heads(one: Arrays, two: Arrays) -> tuple[HeadDifference, ...]:
    return tuple(_head_difference(name, one.get(name), two.get(name)) for name in sorted(one.keys() | two.keys()))


def _head_difference(name: str, one: "np.ndarray[Any, Any] | None",
                     two: "np.ndarray[Any, Any] | None") -> HeadDifference:
    shapes = (one.shape if one is not None else None, two.shape if two is not None else None)
    largest = None
    if one is not None and two is not None and one.shape == two.shape:
        largest = float(np.abs(one.astype(np.float64) - two.astype(np.float64)).max())
    return HeadDifference(name=name, first_shape=shapes[0], second_shape=shapes[1], largest=largest)
