"""An adapter's tensors sorted by what they do: A, B, magnitudes, biases, scales, head. It judges only their names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapterhub.adapter.peft_config import PREFIX, PeftConfig

Arrays = dict[str, np.ndarray[Any, Any]]
_SUFFIXES = {".lora_A.weight": "delta_a", ".lora_B.weight": "delta_b", ".lora_B.bias": "bias_b",
             ".lora_magnitude_vector": "magnitude", ".lora_magnitude_vector.weight": "magnitude", ".ia3_l": "scale"}
OTHER_SUFFIXES = {"ADALORA": (".lora_A", ".lora_B", ".lora_E"), "VERA": (".vera_lambda_b", ".vera_lambda_d"),
                  "OFT": (".oft_R.weight",)}
"""What each module has in a type that is not served."""
_SHARED = {"VERA": ("base_model.vera_A", "base_model.vera_B"), "PROMPT_TUNING": ("prompt_embeddings",),
           "PREFIX_TUNING": ("prompt_embeddings",)}
"""Tensors that belong to no module, by their whole names."""
_OLD_MAGNITUDE = ".lora_magnitude_vector.weight"
"""As some versions of PEFT wrote it."""
_COPIES = (".original_module.", ".modules_to_save.")
"""With `bias="all"` PEFT writes a head's bias under these names too; it reads neither back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterTensors:
    """An adapter's tensors by module; names without PEFT's prefix, with the head model's."""

    delta_a: Arrays = field(default_factory=dict)
    """Module -> A [R, I], as stored."""
    delta_b: Arrays = field(default_factory=dict)
    """Module -> B [O, R], as stored, scaling not folded in."""
    bias_b: Arrays = field(default_factory=dict)
    """Module -> what B adds besides [O], scaling not folded in (`lora_bias`)."""
    magnitude: Arrays = field(default_factory=dict)
    """Module -> DoRA's magnitude [O]."""
    scale: Arrays = field(default_factory=dict)
    """Module -> IA3's vector, [O, 1] or [1, I]."""
    bias: Arrays = field(default_factory=dict)
    """Module of the base -> the bias that replaces its own."""
    head: Arrays = field(default_factory=dict)
    """Full parameter name inside the model with a head -> values."""
    others: dict[str, Arrays] = field(default_factory=dict)
    """PEFT's suffix -> module -> values, of a type that is not served."""
    shared: Arrays = field(default_factory=dict)
    """PEFT's whole name -> values that belong to no module: VeRA's matrices, the tokens of a prompt."""

    @property
    def modules(self) -> set[str]:
        """Every module that a method's own tensors change."""
        return {module for _, arrays in self.named() for module in arrays}

    def named(self) -> Iterator[tuple[str, Arrays]]:
        """Yield PEFT's suffix and the arrays under it, for the method's own tensors."""
        yield from ((suffix, getattr(self, kind)) for suffix, kind in _SUFFIXES.items() if suffix != _OLD_MAGNITUDE)
        yield from self.others.items()


def sort_out(arrays: Mapping[str, np.ndarray[Any, Any]], config: PeftConfig, faults: list[str]) -> AdapterTensors:
    """Sort a file's tensors; what is named as nothing known is told in `faults`."""
    tensors = AdapterTensors(others={suffix: {} for suffix in OTHER_SUFFIXES.get(config.peft_type, ())})
    shared = _SHARED.get(config.peft_type, ())
    for key, array in arrays.items():
        name = key.removeprefix(PREFIX)
        if key in shared:
            tensors.shared[key] = array
            continue
        if name == key:
            faults.append(f"tensor {key} does not start with {PREFIX}")
            continue
        suffix = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
        other = next((suffix for suffix in tensors.others if name.endswith(suffix)), None)
        if other is not None:
            tensors.others[other][name.removesuffix(other)] = array
        elif suffix is not None:
            getattr(tensors, _SUFFIXES[suffix])[name.removesuffix(suffix)] = array
        elif config.bias == "all" and any(copy in name for copy in _COPIES):
            continue
        elif is_saved(name, config):
            tensors.head[name] = array
        elif config.bias != "none" and name.endswith(".bias"):
            tensors.bias[name.removesuffix(".bias").removesuffix(".base_layer")] = array
        else:
            faults.append(f"tensor {key} is unexpected{_reason(name)}")
    return tensors


def is_saved(name: str, config: PeftConfig) -> bool:
    """Say whether a parameter belongs to a module that is saved whole."""
    module = name.rpartition(".")[0]
    return any(f".{module}.".find(f".{saved}.") >= 0 for saved in config.modules_to_save or [])


def _reason(name: str) -> str:
    if "lora_embedding" in name or "token_adapter" in name:
        return ": it changes an embedding, which adapterhub does not serve"
    return ""
