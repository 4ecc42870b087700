"""Does an adapter's content hold together, and does it fit a base? Faults that PEFT warns of, or keeps silent about.

It compares names, shapes and values; it computes nothing with them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adapterhub.adapter.contents import OTHER_SUFFIXES, AdapterTensors, Arrays, sort_out
from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.peft_config import (
    CONFIG_FILE,
    LORA,
    METHOD_NAMES,
    OTHER_NAMES,
    PREFIX,
    WEIGHTS_FILE,
    PeftConfig,
)
from adapterhub.adapter.tensors import parse_tensors
from adapterhub.errors import BaseMismatch, InvalidFolder

_ZERO_AT_START = (".lora_E", ".vera_lambda_b", ".oft_R.weight")
"""Where all of these are zero, AdaLoRA, VeRA and OFT change nothing."""
SIZE_BUDGET = 0.5
"""An adapter file larger than this share of its base's bytes carries base weights by mistake."""


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


def check_folder(folder: AdapterFolder, base: BaseShapes | None = None) -> AdapterTensors:
    """Return a folder's tensors, after every check that needs no computation.

    Without `base` its structure is held against its own config alone.
    Raises BaseMismatch for another base; InvalidFolder with all other faults together.
    """
    if base and folder.manifest.base.fingerprint != base.fingerprint:
        raise BaseMismatch(str(folder.path), folder.manifest.base.fingerprint, base.fingerprint)
    arrays = parse_tensors(folder.files[WEIGHTS_FILE], folder.path, WEIGHTS_FILE)
    faults: list[str] = []
    tensors = sort_out(arrays, folder.config, faults)
    _check_modules(tensors, folder.config, faults)
    _check_values(arrays, tensors, faults)
    _check_facts(arrays, folder, faults)
    _check_head(tensors, folder, faults)
    if base:
        _check_against_base(tensors, folder, base, faults)
    if faults:
        raise InvalidFolder(str(folder.path), faults, hint="Train it again, or pull a version that verifies.")
    return tensors


def _check_modules(tensors: AdapterTensors, config: PeftConfig, faults: list[str]) -> None:
    """Hold each module's tensors against what its method writes."""
    if not (tensors.shared if config.is_prompt else tensors.modules):
        faults.append(f"it holds no {(METHOD_NAMES | OTHER_NAMES)[config.peft_type]} tensor at all")
    wanted = _wanted_suffixes(config)
    named = dict(tensors.named())
    for suffix, arrays in named.items():
        faults += [f"tensor {PREFIX}{module}{suffix} belongs to no method that {CONFIG_FILE} sets"
                   for module in sorted(arrays) if suffix not in wanted]
    for module in sorted(tensors.modules):
        missing = [suffix for suffix in wanted if module not in named[suffix]]
        faults += [f"tensor {PREFIX}{module}{suffix} is missing" for suffix in missing]
        if not missing and config.peft_type == LORA:
            _check_rank(tensors, module, config.rank_of(module), faults)
        if not config.has_target(module):
            faults.append(f"{module} has tensors but is no target module")


def _wanted_suffixes(config: PeftConfig) -> list[str]:
    if not config.is_served:
        return list(OTHER_SUFFIXES.get(config.peft_type, ()))
    if config.is_ia3:
        return [".ia3_l"]
    extra = {".lora_magnitude_vector": config.use_dora, ".lora_B.bias": config.lora_bias}
    return [".lora_A.weight", ".lora_B.weight", *(suffix for suffix, is_set in extra.items() if is_set)]


def _check_rank(tensors: AdapterTensors, module: str, rank: int, faults: list[str]) -> None:
    a, b = tensors.delta_a[module], tensors.delta_b[module]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
        faults.append(f"{module} has A {list(a.shape)} and B {list(b.shape)}, expected rank {rank}")


def _check_values(arrays: Arrays, tensors: AdapterTensors, faults: list[str]) -> None:
    faults += [f"tensor {key} holds NaN or infinity" for key, array in arrays.items()
               if key.startswith(PREFIX) and not np.isfinite(array).all()]  # others are refused by their names
    if tensors.delta_b and not any(array.any() for array in (*tensors.delta_b.values(), *tensors.bias_b.values())):
        faults.append("every lora_B is zero, so the adapter changes nothing")
    if tensors.scale and all((array == 1).all() for array in tensors.scale.values()):
        faults.append("every ia3_l is one, so the adapter changes nothing")
    faults += [f"every {suffix.removeprefix('.')} is zero, so the adapter changes nothing"
               for suffix in _ZERO_AT_START if suffix in tensors.others and tensors.others[suffix]
               and not any(array.any() for array in tensors.others[suffix].values())]
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
    for module in sorted(tensors.modules):
        shape = weights.get(base.strip(module))
        if shape is None:
            faults.append(f"the base has no module {base.strip(module)}")
        else:
            _check_shapes(tensors, module, shape, faults)
    for module, array in tensors.bias.items():
        if base.shapes.get(f"{base.strip(module)}.bias") != array.shape:
            faults.append(f"the base has no bias {list(array.shape)} in {base.strip(module)}")
    held = {base.strip(module) for module in tensors.modules}
    saved = set(folder.config.modules_to_save or [])
    faults += [f"tensors of target {module} are missing" for module in sorted(weights)
               if module not in held and folder.config.has_target(module) and not saved & set(module.split("."))]
    size, budget = len(folder.files[WEIGHTS_FILE]), SIZE_BUDGET * 4 * sum(map(np.prod, base.shapes.values()))
    if size > budget:
        faults.append(f"{WEIGHTS_FILE} has {size} bytes, more than half of its base: it carries base weights")


def _check_shapes(tensors: AdapterTensors, module: str, shape: tuple[int, ...], faults: list[str]) -> None:
    """Hold one module's tensors against the base's weight, [O, I], or [I, O] in GPT-2's Conv1D."""
    if module in tensors.delta_a and module in tensors.delta_b:
        found = (tensors.delta_b[module].shape[0], tensors.delta_a[module].shape[-1])
        if found not in (shape, shape[::-1]):
            faults.append(f"{module} adapts a {list(found)} weight, the base's is {list(shape)}")
            return
        outputs = found[0]
        for kind, array in (("magnitude", tensors.magnitude.get(module)), ("bias", tensors.bias_b.get(module))):
            if array is not None and array.shape != (outputs,):
                faults.append(f"{module} has a {kind} of shape {list(array.shape)}, expected [{outputs}]")
    a, b = tensors.others.get(".lora_A", {}).get(module), tensors.others.get(".lora_B", {}).get(module)
    if a is not None and b is not None and (b.shape[0], a.shape[-1]) not in (shape, shape[::-1]):
        faults.append(f"{module} adapts a {[b.shape[0], a.shape[-1]]} weight, the base's is {list(shape)}")
    outer = tensors.others.get(".vera_lambda_b", {}).get(module)
    if outer is not None and outer.size not in shape:
        faults.append(f"{module} has a VeRA vector of {outer.size}, the base's weight is {list(shape)}")
    if module in tensors.scale and tensors.scale[module].size not in shape:
        faults.append(f"{module} has an IA3 vector of {tensors.scale[module].size}, the base's weight is {list(shape)}")
