"""Slots: every adapter's A and B in one slab, a row per slot, so that loading is one copy and swapping is an index.

It knows names and shapes of layers, not what a row of text is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adapterhub.adapter.check import AdapterTensors
from adapterhub.adapter.peft_config import PeftConfig

NO_ADAPTER = 0
"""Slot 0 stays all zero, for rows without an adapter."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One linear layer that adapters may change."""

    in_features: int
    out_features: int


@dataclass(frozen=True, slots=True)
class LayerDelta:
    """What one layer adds for a batch: per row, or one adapter for all rows."""

    a: torch.Tensor  # [B, R, I], or [R, I] where all rows share it
    b: torch.Tensor  # [B, O, R], or [O, R]


class Slots:
    """The slab [S, P] float32: in each slot, layer after layer, A [R, I] then B [O, R] with the scaling folded in.

    Grows by doubling its slots up to `max_slots`, and in rank when a larger one arrives. Not thread-safe.
    """

    def __init__(self, layers: Mapping[str, LayerShape], *, max_slots: int) -> None:
        self.layers = dict(layers)
        self.max_slots = max_slots
        self.rank = 0
        self.is_adapted: dict[str, set[int]] = {name: set() for name in layers}
        """Layer -> slots that change it; a layer that no row's slot changes costs nothing."""
        self._slab = torch.zeros(1, 0)
        self._offsets: dict[str, tuple[int, int]] = {}

    @property
    def n_slots(self) -> int:
        """Slots at hand, slot 0 included."""
        return self._slab.shape[0]

    @property
    def size_bytes(self) -> int:
        """Memory of the slab."""
        return self._slab.nelement() * self._slab.element_size()

    def put(self, slot: int, tensors: AdapterTensors, config: PeftConfig, strip: Mapping[str, str]) -> None:
        """Copy an adapter into `slot`, over whatever was there; `strip` maps its modules to layer names."""
        rank = max(array.shape[0] for array in tensors.delta_a.values())
        if slot >= self.n_slots or rank > self.rank:
            self._grow(slot, rank)
        self.clear(slot)
        for module, a in tensors.delta_a.items():
            layer = strip[module]
            into_a, into_b = self._views(self._slab[slot], layer)
            own = a.shape[0]
            into_a[:own].copy_(_tensor(a))
            torch.mul(_tensor(tensors.delta_b[module]).float(), config.scaling_of(module), out=into_b[:, :own])
            self.is_adapted[layer].add(slot)

    def clear(self, slot: int) -> None:
        """Zero a slot: nothing of its old adapter is left in layers that the next one does not change."""
        self._slab[slot].zero_()
        for members in self.is_adapted.values():
            members.discard(slot)

    def gather(self, slot_of_row: Sequence[int]) -> dict[str, LayerDelta]:
        """Return each adapted layer's A and B for a batch, gathered once for all layers. slot_of_row [B]."""
        distinct = set(slot_of_row)
        layers = [name for name, members in self.is_adapted.items() if members & distinct]
        if not layers:
            return {}
        if len(distinct) == 1:
            rows = self._slab[slot_of_row[0]]
        else:
            rows = self._slab.index_select(0, torch.tensor(slot_of_row))  # [B, P]
        return {name: LayerDelta(*self._views(rows, name)) for name in layers}

    def _views(self, rows: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """View A [..., R, I] and B [..., O, R] of a layer in slab rows [..., P]."""
        start, middle = self._offsets[layer]
        shape = self.layers[layer]
        end = middle + shape.out_features * self.rank
        lead = rows.shape[:-1]
        return (rows[..., start:middle].view(*lead, self.rank, shape.in_features),
                rows[..., middle:end].view(*lead, shape.out_features, self.rank))

    def _grow(self, slot: int, rank: int) -> None:
        old_slab, old_offsets, old_rank = self._slab, self._offsets, self.rank
        n_slots = self.n_slots
        while n_slots <= slot:
            n_slots = min(max(2, 2 * n_slots), self.max_slots + 1)
        self.rank = max(rank, old_rank)
        size, self._offsets = 0, {}
        for name, shape in self.layers.items():
            self._offsets[name] = (size, size + self.rank * shape.in_features)
            size += self.rank * (shape.in_features + shape.out_features)
        self._slab = torch.zeros(n_slots, size)
        if self.rank == old_rank:
            self._slab[:old_slab.shape[0]] = old_slab
            return
        for name, (start, middle) in old_offsets.items():
            shape, kept = self.layers[name], old_slab.shape[0]
            new_a, new_b = self._views(self._slab[:kept], name)
            new_a[:, :old_rank] = old_slab[:, start:middle].view(kept, old_rank, shape.in_features)
            end = middle + shape.out_features * old_rank
            new_b[:, :, :old_rank] = old_slab[:, middle:end].view(kept, shape.out_features, old_rank)


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())
