"""Does an adapter's content hold together, and does it fit a base? Faults that PEFT warns of, or keeps silent about.

It compares names, shapes and values; it computes nothing with them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.peft_config import PREFIX, WEIGHTS_FILE, PeftConfig
from adapterhub.adapter.tensors import parse_tensors
from adapterhub.errors import BaseMismatch, InvalidFolder

SIZE_BUDGET = 0.5
"""An adapter file larger than this share of its base's bytes carries base weights by mistake."""

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseShapes:
    """What a check needs to know of a base: its parameters' names and shapes, and who it is."""

    fingerprint: str
    prefix: str
    """Before the base's names inside a model with a head: `bert`."""
    shapes: Mapping[str, tuple[int, ...]]
    """Parameter name without prefix -> shape."""

    def strip(self, module: str) -> str:
        """Return a module's name without the head model's prefix."""
        return module.removeprefix(self.prefix + ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterTensors:
    """An adapter's tensors, sorted out; names without PEFT's and the base's prefix."""

    delta_a: Arrays
    """Module -> A [R, I], as stored."""
    delta_b: Arrays
    """Module -> B [O, R], as stored, scaling not folded in."""
    head: Arrays
    """Full parameter name inside the model with a head -> values."""


def check_folder(folder: AdapterFolder, base: BaseShapes | None = None) -> AdapterTensors:
    """Return a folder's tensors, after every check that needs no computation.

    Without `base` its structure is held against its own config alone.
    Raises BaseMismatch for another base; InvalidFolder with all other faults together.
    """
    if base and folder.manifest.base.fingerprint != base.fingerprint:
        raise BaseMismatch(str(folder.path), folder.manifest.base.fingerprint, base.fingerprint)
    arrays = parse_tensors(folder.files[WEIGHTS_FILE], folder.path, WEIGHTS_FILE)
    faults: list[str] = []
    tensors = _sort_out(arrays, folder.config, base, faults)
    _check_pairs(tensors, folder.config, faults)
    _check_values(arrays, tensors, faults)
    _check_facts(arrays, folder, faults)
    _check_head(tensors, folder, faults)
    if base:
        _check_against_base(tensors, folder, base, faults)
    if faults:
        raise InvalidFolder(str(folder.path), faults, hint="Train it again, or pull a version that verifies.")
    return tensors


def _sort_out(arrays: Arrays, config: PeftConfig, base: BaseShapes | None, faults: list[str]) -> AdapterTensors:
    sorted_out = AdapterTensors(delta_a={}, delta_b={}, head={})
    for key, array in arrays.items():
        name = key.removeprefix(PREFIX)
        if name == key:
            faults.append(f"tensor {key} does not start with {PREFIX}")
        elif name.endswith(".lora_A.weight"):
            sorted_out.delta_a[name.removesuffix(".lora_A.weight")] = array
        elif name.endswith(".lora_B.weight"):
            sorted_out.delta_b[name.removesuffix(".lora_B.weight")] = array
        elif _is_saved(name, config):
            sorted_out.head[name] = array
        else:
            faults.append(f"tensor {key} is unexpected")
    return sorted_out


def _is_saved(name: str, config: PeftConfig) -> bool:
    module = name.rpartition(".")[0]
    return any(f".{module}.".find(f".{saved}.") >= 0 for saved in config.modules_to_save or [])


def _check_pairs(tensors: AdapterTensors, config: PeftConfig, faults: list[str]) -> None:
    if not tensors.delta_a and not tensors.delta_b:
        faults.append("it holds no LoRA tensor at all")
    for module in sorted(tensors.delta_a.keys() | tensors.delta_b.keys()):
        a, b = tensors.delta_a.get(module), tensors.delta_b.get(module)
        if a is None or b is None:
            faults.append(f"tensor {PREFIX}{module}.lora_{'A' if a is None else 'B'}.weight is missing")
            continue
        rank = config.rank_of(module)
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            faults.append(f"{module} has A {list(a.shape)} and B {list(b.shape)}, expected rank {rank}")
        if not config.has_target(module):
            faults.append(f"{module} has tensors but is no target module")


def _check_values(arrays: Arrays, tensors: AdapterTensors, faults: list[str]) -> None:
    faults += [f"tensor {key} holds NaN or infinity" for key, array in arrays.items() if not np.isfinite(array).all()]
    if tensors.delta_b and not any(array.any() for array in tensors.delta_b.values()):
        faults.append("every lora_B is zero, so the adapter changes nothing")
    faults += [f"tensor {PREFIX}{name} is all zero" for name, array in tensors.head.items()
               if name.endswith(".weight") and not array.any()]


def _check_facts(arrays: Arrays, folder: AdapterFolder, faults: list[str]) -> None:
    """What search and costs tell from the manifest must be what the files hold."""
    method, n_parameters = folder.manifest.method, sum(array.size for array in arrays.values())
    if method.rank != folder.config.r:
        faults.append(f"the manifest says rank {method.rank}, its configuration {folder.config.r}")
    if method.n_parameters != n_parameters:
        faults.append(f"the manifest says {method.n_parameters} parameters, the file holds {n_parameters}")


def _check_head(tensors: AdapterTensors, folder: AdapterFolder, faults: list[str]) -> None:
    saved, labels = folder.config.modules_to_save or [], folder.manifest.labels
    faults += [f"module {module} has no tensor in the file" for module in saved
               if not any(f".{name}".find(f".{module}.") >= 0 for name in tensors.head)]
    if sorted(saved) != sorted(folder.manifest.head.modules):
        faults.append(f"modules_to_save {saved} differ from the manifest's head {folder.manifest.head.modules}")
    faults += [f"label {label!r} stands twice" for label, count in Counter(labels).items() if count > 1]
    heights = {array.shape[0] for name, array in tensors.head.items() if array.ndim == 2}
    if labels and len(labels) not in heights:
        faults.append(f"the head has {' or '.join(map(str, sorted(heights))) or 'no'} outputs, "
                      f"the manifest has {len(labels)} labels")


def _check_against_base(tensors: AdapterTensors, folder: AdapterFolder, base: BaseShapes, faults: list[str]) -> None:
    weights = {name.removesuffix(".weight"): shape for name, shape in base.shapes.items()
               if name.endswith(".weight") and len(shape) == 2}
    for module in tensors.delta_a.keys() & tensors.delta_b.keys():
        shape = weights.get(base.strip(module))
        found = (tensors.delta_b[module].shape[0], tensors.delta_a[module].shape[-1])
        if shape is None:
            faults.append(f"the base has no module {base.strip(module)}")
        elif shape != found:
            faults.append(f"{module} adapts a {list(found)} weight, the base's is {list(shape)}")
    held = {base.strip(module) for module in tensors.delta_a}
    saved = set(folder.config.modules_to_save or [])
    faults += [f"tensors of target {module} are missing" for module in sorted(weights)
               if module not in held and folder.config.has_target(module) and not saved & set(module.split("."))]
    size, budget = len(folder.files[WEIGHTS_FILE]), SIZE_BUDGET * 4 * sum(map(np.prod, base.shapes.values()))
    if size > budget:
        faults.append(f"{WEIGHTS_FILE} has {size} bytes, more than half of its base: it carries base weights")
