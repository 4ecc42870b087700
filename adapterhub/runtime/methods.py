"""Methods beyond A and B, as factors of a layer: IA3, DoRA, trained biases. It knows no slots and no rows.

A layer with factors computes: (W (in_scale * x) + bias) * out_scale + out_shift + B (A x).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from adapterhub.adapter.contents import AdapterTensors
from adapterhub.adapter.peft_config import PeftConfig
from adapterhub.runtime.slot_linear import SlotLayer

Products = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Layer -> A [R, I] and B [O, R], scaling folded in, float32."""


@dataclass(slots=True)
class LayerFactors:
    """What one adapter multiplies and adds in one layer, float32; None changes nothing."""

    in_scale: torch.Tensor | None = None  # [I]
    out_scale: torch.Tensor | None = None  # [O]
    out_shift: torch.Tensor | None = None  # [O]

    def shift(self, by: torch.Tensor) -> None:
        """Add to the shift."""
        self.out_shift = by if self.out_shift is None else self.out_shift + by


def factors_of(tensors: AdapterTensors, config: PeftConfig, strip: Callable[[str], str],
               layers: Mapping[str, SlotLayer]) -> tuple[dict[str, LayerFactors], Products]:
    """Return each layer's factors, and the low-rank products beside them."""
    factors: dict[str, LayerFactors] = {}
    products: Products = {}
    for module, vector in tensors.scale.items():
        own = factors.setdefault(strip(module), LayerFactors())
        if config.is_feedforward(module):
            own.in_scale = _tensor(vector).flatten()
        else:
            own.out_scale = _tensor(vector).flatten()
    for module, a in tensors.delta_a.items():
        products[strip(module)] = _tensor(a), _tensor(tensors.delta_b[module]) * config.scaling_of(module)
    for module, bias in tensors.bias_b.items():
        factors.setdefault(strip(module), LayerFactors()).shift(_tensor(bias) * config.scaling_of(module))
    for module, magnitude in tensors.magnitude.items():
        layer = strip(module)
        own, products[layer] = _dora(_tensor(magnitude), layers[layer], *products[layer])
        factors[layer] = own
    for module, bias in tensors.bias.items():
        if (found := layers.get(strip(module))) is not None:
            factors.setdefault(strip(module), LayerFactors()).shift(_tensor(bias) - _bias_of(found))
    return factors, products


def _dora(magnitude: torch.Tensor, layer: SlotLayer, a: torch.Tensor,
          b: torch.Tensor) -> tuple[LayerFactors, tuple[torch.Tensor, torch.Tensor]]:
    """Return the factors and product that give DoRA's output; a frozen bias is not scaled.

    Source: Liu et al. 2024, arXiv 2402.09353 §4.1, equation 5.
    """
    norm = torch.linalg.norm(layer.dense_weight() + b @ a, dim=1)
    scale = magnitude / norm
    factors = LayerFactors(out_scale=scale, out_shift=_bias_of(layer) * (1 - scale))
    return factors, (a, scale[:, None] * b)


def _bias_of(layer: SlotLayer) -> torch.Tensor:
    if layer.bias is None:
        return torch.zeros(1)
    return layer.bias.detach().float()


def _tensor(array: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> torch.Tensor:
    return torch.from_numpy(array.astype("float32"))
