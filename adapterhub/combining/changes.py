"""What an adapter changes in each layer, as far as its own file says it without the base's weights."""

from dataclasses import dataclass

import numpy as np

from adapterhub.adapter.contents import AdapterTensors
from adapterhub.adapter.peft_config import METHOD_NAMES, OTHER_NAMES, PeftConfig
from adapterhub.combining.low_rank import LowRank, Products

WEIGHT, SCALE = "weight", "scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """An adapter's changes by layer."""

    kind: str
    """`weight`: what is added to a weight; `scale`: IA3's vector less one, the diagonal that multiplies activations."""
    layers: Products
    not_computed: tuple[str, ...]
    """What else it changes, and why that is no product of two factors; in words."""


def changes_of(tensors: AdapterTensors, config: PeftConfig) -> Changes:
    """Return what can be told exactly; where a method's change needs the base's weights, no layer at all."""
    beside = beside_products(config)
    if config.is_ia3:
        inputs = {module: " (inputs)" for module in tensors.scale if config.is_feedforward(module)}
        scales = {module + inputs.get(module, ""): _diagonal(vector) for module, vector in tensors.scale.items()}
        return Changes(kind=SCALE, layers=scales, not_computed=beside)
    needs_base = why_base_is_needed(config)
    if needs_base:
        return Changes(kind=WEIGHT, layers={}, not_computed=(needs_base, *beside))
    return Changes(kind=WEIGHT, layers=products_of(tensors, config), not_computed=beside)


def products_of(tensors: AdapterTensors, config: PeftConfig) -> Products:
    """Return each layer's B A with its own scaling (alpha, rsLoRA and patterns) folded into B."""
    return {module: LowRank(a.astype(np.float64),
                            tensors.delta_b[module].astype(np.float64) * config.scaling_of(module))
            for module, a in tensors.delta_a.items()}


def why_base_is_needed(config: PeftConfig) -> str:
    """Say why an adapter's change of a weight cannot be told from its own tensors; empty where it can."""
    if not config.is_served:
        return "its change is told by PEFT alone; convert it to LoRA to compare it"
    if config.use_dora:
        return "DoRA's change depends on the base's weights"
    if config.moves_base:
        return f"a start by {config.init_lora_weights} takes a part of the base's weights away"
    return ""


def beside_products(config: PeftConfig) -> tuple[str, ...]:
    """Name what an adapter changes beside weights and head."""
    found = []
    if config.bias != "none":
        found.append(f"its trained biases (bias {config.bias!r}) replace the base's own")
    if config.lora_bias:
        found.append("its lora_B has biases, which are no part of a weight")
    return tuple(found)


def method_name(config: PeftConfig) -> str:
    """Return the method as people write it."""
    return "DoRA" if config.use_dora else (METHOD_NAMES | OTHER_NAMES)[config.peft_type]


def _diagonal(vector: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> LowRank:
    """Return a vector less one as a product of rank 1 with the same norm and inner products."""
    return LowRank((vector.astype(np.float64).reshape(1, -1) - 1.0), np.ones((1, 1)))
