"""A frozen layer of the base that adds to each row what the row's own adapter asks for. It knows no slots.

Rows of one batch lie so that rows of one adapter, and adapters with equally many rows, are neighbours: each run of
adapters is then one matrix product, whatever their number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from adapterhub.runtime.packed import Packed, pack
from adapterhub.runtime.slots import LayerShape


@dataclass(frozen=True, slots=True)
class LowRank:
    """Rows `start` to `stop`: D adapters, each with equally many rows, one after the other."""

    start: int
    stop: int
    a: torch.Tensor  # [D, R, I], or [R, I] where one adapter has all these rows
    b: torch.Tensor  # [D, O, R], or [O, R]; scaling folded in
    a_turned: torch.Tensor = field(init=False)  # [D, I, R], or [I, R]; turned once, not at every step of a generation
    b_turned: torch.Tensor = field(init=False)  # [D, R, O], or [R, O]

    def __post_init__(self) -> None:
        object.__setattr__(self, "a_turned", self.a.transpose(-1, -2))
        object.__setattr__(self, "b_turned", self.b.transpose(-1, -2))

    def read(self) -> "LowRank":
        """Return itself: A and B are there."""
        return self


@dataclass(frozen=True, slots=True)
class LateLowRank:
    """The same with A and B copied when the layer runs, so that they are multiplied out of the processor's cache."""

    start: int
    stop: int
    copy: Callable[[], tuple[torch.Tensor, torch.Tensor]]  # [D, R, I] and [D, O, R]

    def read(self) -> LowRank:
        """Copy A and B."""
        return LowRank(self.start, self.stop, *self.copy())


@dataclass(frozen=True, slots=True)
class Scales:
    """Rows `start` to `stop`, each with its own factors; None changes nothing."""

    start: int
    stop: int
    in_scale: torch.Tensor | None  # [stop - start, 1, I]
    out_scale: torch.Tensor | None  # [stop - start, 1, O]
    out_shift: torch.Tensor | None  # [stop - start, 1, O]


@dataclass(frozen=True, slots=True)
class LayerWork:
    """What one layer adds for the batch at hand."""

    low_rank: Sequence[LowRank | LateLowRank] = ()
    scales: Scales | None = None


@dataclass(slots=True)
class BatchWork:
    """What the layers add in the pass at hand; set before it, cleared after it. A layer without work costs nothing."""

    of_layer: Mapping[str, LayerWork] = field(default_factory=dict)
    seen: dict[str, set[int]] | None = None
    """While it is a table, every layer enters with how many rows it was called."""


class SlotLayer(nn.Module):
    """Stands in for one frozen layer of the base."""

    def __init__(self, base: nn.Module, name: str, work: BatchWork) -> None:
        super().__init__()
        self.base, self.name, self.work = base, name, work
        self.packed: Packed | None = None

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight: architectures look at its type."""
        assert isinstance(self.base.weight, torch.Tensor), "frozen layers have one weight"
        return self.base.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The frozen bias."""
        return self.base.bias  # type: ignore[return-value]  # a module's attribute is a tensor or a module to mypy

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the frozen layer's output plus each row's own change. x [B, T, I] -> [B, T, O]."""
        if self.work.seen is not None:
            self.work.seen.setdefault(self.name, set()).add(x.shape[0])
        work = self.work.of_layer.get(self.name)
        if work is None:
            return self._frozen(x)
        return apply_work(self._frozen, x, work)

    def dense_weight(self) -> torch.Tensor:
        """Return the frozen weight [O, I] in float32 on the host, for methods whose change depends on it."""
        if self.packed is not None:
            return self.packed.dense_weight()
        weight = self.weight.detach().float().cpu()
        return weight.T if isinstance(self.base, Conv1D) else weight

    def _frozen(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.base(x) if self.packed is None else self.packed(x)
        return y


def apply_work(frozen: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, work: LayerWork) -> torch.Tensor:
    """Return frozen(x) with each row's factors and low-rank product. x [B, T, I] -> [B, T, O].

    Source: Hu et al. 2021 §4.1 (LoRA); Liu et al. 2022 §3.3 (IA3); Liu et al. 2024 §4.1 (DoRA).
    """
    scales = work.scales
    if scales is not None and scales.in_scale is not None:
        x = x.clone()
        x[scales.start:scales.stop] *= scales.in_scale
    y = frozen(x)
    if scales is not None:
        part = y[scales.start:scales.stop]
        if scales.out_scale is not None:
            part *= scales.out_scale
        if scales.out_shift is not None:
            part += scales.out_shift
    for product in work.low_rank:
        add_low_rank_(y, x, product.read())
    return y


def add_low_rank_(y: torch.Tensor, x: torch.Tensor, product: LowRank) -> None:
    """Add B (A x) to the product's rows of `y` in place. y [B, T, O], x [B, T, I].

    Source: Hu et al. 2021 §4.1; rows gathered by adapter after Punica, arXiv 2310.18547 §4.
    """
    n_rows = product.stop - product.start
    if n_rows != y.shape[0]:
        y, x = y[product.start:product.stop], x[product.start:product.stop]
    if product.a.ndim == 2:
        flat = y.view(-1, y.shape[-1])
        flat.addmm_(x.reshape(-1, x.shape[-1]) @ product.a_turned, product.b_turned)
        return
    if product.a.shape[0] != n_rows:
        y = y.view(product.a.shape[0], -1, y.shape[-1])
        x = x.reshape(product.a.shape[0], -1, x.shape[-1])
    y.baddbmm_(torch.bmm(x, product.a_turned), product.b_turned)


def add_low_rank_reference(y: torch.Tensor, x: torch.Tensor, product: LowRank) -> None:
    """Do what `add_low_rank_` does, row by row: its slow twin."""
    n_rows = product.stop - product.start
    for i in range(n_rows):
        own = i * product.a.shape[0] // n_rows
        a, b = (product.a, product.b) if product.a.ndim == 2 else (product.a[own], product.b[own])
        y[product.start + i] += x[product.start + i] @ a.T @ b.T


def inject(trunk: nn.Module, names: Iterable[str], work: BatchWork, *, is_packed: bool) -> dict[str, SlotLayer]:
    """Put a SlotLayer in the place of each named layer, and return them by name."""
    layers = {}
    for name in names:
        parent_name, _, child = name.rpartition(".")
        parent = trunk.get_submodule(parent_name)
        frozen = getattr(parent, child)
        layers[name] = layer = SlotLayer(frozen, name, work)
        if is_packed and isinstance(frozen, nn.Linear):
            layer.packed = pack(frozen)
        setattr(parent, child, layer)
    return layers


def shapes_of(layers: Mapping[str, SlotLayer]) -> dict[str, LayerShape]:
    """Return in- and out-features of each layer that multiplies by a matrix."""
    shapes = {}
    for name, layer in layers.items():
        if isinstance(layer.base, nn.Linear):
            shapes[name] = LayerShape(layer.base.in_features, layer.base.out_features)
        elif isinstance(layer.base, Conv1D):
            shapes[name] = LayerShape(*layer.base.weight.shape)
    return shapes


def adaptable_layers(trunk: nn.Module) -> list[str]:
    """Name the layers that adapters may change: matrices inside the repeated layers, and every norm that has a bias.

    What stands outside the repeated layers (a pooler) belongs to heads.
    """
    return [name for name, module in trunk.named_modules()
            if (isinstance(module, nn.Linear | Conv1D) and any(part.isdecimal() for part in name.split(".")))
            or isinstance(module, nn.LayerNorm)]
