"""A linear layer that adds each row's own low-rank product to the frozen one's output."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from adapterhub.runtime.slots import LayerDelta, LayerShape


@dataclass(slots=True)
class BatchDeltas:
    """What the layers add in the pass at hand; set before it, cleared after it."""

    of_layer: Mapping[str, LayerDelta] = field(default_factory=dict)


class SlotLinear(nn.Module):
    """Stands in for one frozen linear layer of the base."""

    def __init__(self, base: nn.Linear, name: str, deltas: BatchDeltas) -> None:
        super().__init__()
        self.base, self.name, self.deltas = base, name, deltas

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return base(x) plus, for each row, B (A x). x [B, T, I] -> [B, T, O]."""
        y: torch.Tensor = self.base(x)
        delta = self.deltas.of_layer.get(self.name)
        return y if delta is None else add_delta_(y, x, delta)


def add_delta_(y: torch.Tensor, x: torch.Tensor, delta: LayerDelta) -> torch.Tensor:
    """Add each row's low-rank product to `y` in place.

    y [B, T, O], x [B, T, I]; delta per row or shared. Source: Hu et al. 2021 §4.1; gathering after Punica,
    arXiv 2310.18547.
    """
    if delta.a.ndim == 2:
        flat = y.view(-1, y.shape[-1])
        flat.addmm_(x.reshape(-1, x.shape[-1]) @ delta.a.T, delta.b.T)
        return y
    return y.baddbmm_(torch.bmm(x, delta.a.transpose(1, 2)), delta.b.transpose(1, 2))


def add_delta_reference(y: torch.Tensor, x: torch.Tensor, delta: LayerDelta) -> torch.Tensor:
    """Return what `add_delta_` gives, row by row: its slow twin."""
    rows = []
    for i in range(y.shape[0]):
        a, b = (delta.a, delta.b) if delta.a.ndim == 2 else (delta.a[i], delta.b[i])
        rows.append(y[i] + x[i] @ a.T @ b.T)
    return torch.stack(rows)


def inject(trunk: nn.Module, names: Iterable[str], deltas: BatchDeltas) -> dict[str, LayerShape]:
    """Put a SlotLinear in the place of each named linear layer, and return their shapes."""
    shapes = {}
    for name in names:
        parent_name, _, child = name.rpartition(".")
        parent = trunk.get_submodule(parent_name)
        linear = getattr(parent, child)
        assert isinstance(linear, nn.Linear), f"{name} is no linear layer"
        setattr(parent, child, SlotLinear(linear, name, deltas))
        shapes[name] = LayerShape(linear.in_features, linear.out_features)
    return shapes


def encoder_linears(trunk: nn.Module) -> list[str]:
    """Name every linear layer of the base but those that belong to heads (the pooler)."""
    return [name for name, module in trunk.named_modules()
            if isinstance(module, nn.Linear) and any(part.isdecimal() for part in name.split("."))]
