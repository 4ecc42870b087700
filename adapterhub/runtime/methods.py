"""Methods beyond A and B, as factors of a layer: IA3, DoRA, trained biases. It knows no slots and no rows.

A layer with factors computes: (W (in_scale * x) + bias) * out_scale + out_shift + B (A x).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

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

    @property
    def size_bytes(self) -> int:
        """Memory of the vectors."""
        return sum(vector.nbytes for vector in (self.in_scale, self.out_scale, self.out_shift) if vector is not None)

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
        product = _tensor(a), _tensor(tensors.delta_b[module]) * config.scaling_of(module)
        products[strip(module)] = _from_start(product, layers[strip(module)], config, module)
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


def _from_start(product: tuple[torch.Tensor, torch.Tensor], layer: SlotLayer, config: PeftConfig,
                module: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a product that starts at the whole frozen weight, of twice the rank where PEFT's starts at what is left.

    Source: Meng et al. 2024 (PiSSA), arXiv 2404.02948 §3; the decomposition is PEFT's own.
    """
    if not config.moves_base:
        return product
    from peft import LoraConfig  # half a second: not where no adapter needs it
    from peft.tuners.lora import Linear

    weight = layer.dense_weight()
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight.clone()
    rank = config.rank_of(module)
    how: Any = config.init_lora_weights  # checked when it was parsed
    alpha: Any = config.scaling_of(module) * rank  # PEFT computes with floats
    start = Linear(linear, "start", LoraConfig(init_lora_weights=how), r=rank, lora_alpha=alpha)
    shrink, expand = start.lora_A["start"], start.lora_B["start"]
    assert isinstance(shrink, nn.Linear), "a linear layer's product is two of them"
    assert isinstance(expand, nn.Linear), "a linear layer's product is two of them"
    a, b = shrink.weight.detach(), expand.weight.detach()
    return torch.cat([product[0], a]), torch.cat([product[1], -config.scaling_of(module) * b], dim=1)


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
    return layer.bias.detach().float().cpu()


def _tensor(array: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> torch.Tensor:
    return torch.from_numpy(array.astype("float32"))
