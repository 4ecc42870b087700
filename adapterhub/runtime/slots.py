"""Slots: adapters of one shape in one slab, a row per adapter; loading is one copy, swapping is an index.

It knows names and shapes of layers, not files, digests or texts.
"""

import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adapterhub.runtime.copies import SideCopies, on_device

PAGE_BYTES = mmap.PAGESIZE
MIN_RANK = 4
"""Ranks are rounded up to powers of two from here on, so that few slabs serve all ranks and small ones pay no more."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One layer of the base that adapters may change."""

    in_features: int
    out_features: int


@dataclass(frozen=True, slots=True)
class SlotShape:
    """What adapters of one slab have in common."""

    layers: tuple[tuple[str, LayerShape], ...]
    """Adapted layers, sorted by name."""
    rank: int
    """Rounded up."""

    @classmethod
    def of(cls, layers: Mapping[str, LayerShape], rank: int) -> "SlotShape":
        """Return the shape for these layers and the smallest rank of a slab that holds `rank`."""
        rounded = MIN_RANK
        while rounded < rank:
            rounded *= 2
        return cls(tuple(sorted(layers.items())), rounded)

    @property
    def offsets(self) -> dict[str, tuple[int, int, int]]:
        """Layer -> where its A starts, where its B starts, where it ends, in elements of a row."""
        places, end = {}, 0
        for name, shape in self.layers:
            start, middle = end, end + self.rank * shape.in_features
            end = middle + self.rank * shape.out_features
            places[name] = (start, middle, end)
        return places

    @property
    def n_elements(self) -> int:
        """Elements of one adapter."""
        return sum(self.rank * (shape.in_features + shape.out_features) for _, shape in self.layers)


class SlotPool:
    """One slab [S, P]: in each row, layer after layer, A [R, I] then B [O, R] with the scaling folded in.

    On the processor the slab's address space is reserved once and takes memory page by page as slots are filled; on
    a GPU it grows by doubling, and slots are filled beside the computing. Not thread-safe.
    """

    def __init__(self, shape: SlotShape, *, dtype: torch.dtype, device: torch.device, max_slots: int,
                 copies: SideCopies | None = None) -> None:
        """`copies`: how slots are filled where the device's memory is its own."""
        self.shape, self.max_slots = shape, max_slots
        self._dtype, self._device = dtype, device
        self.slot_bytes = -(-shape.n_elements * dtype.itemsize // PAGE_BYTES) * PAGE_BYTES
        self._offsets = shape.offsets
        self._shapes = dict(shape.layers)
        self._free: list[int] = []
        self._n_used = 0
        self._copies = copies
        self._freed: dict[int, Any] = {}
        self._memory: mmap.mmap | None = None
        self._slab = self._reserve(max_slots if device.type == "cpu" else 0)

    def take(self) -> int:
        """Return a free slot; its old content is still in it."""
        if self._free:
            return self._free.pop()
        slot = self._n_used
        assert slot < self.max_slots, "who asks for a slot has made room first"
        if slot >= self._slab.shape[0]:
            grown = self._reserve(min(max(8, 2 * slot), self.max_slots))
            self.settle()
            grown[:slot] = self._slab
            self._slab = grown
            self._freed = self._freed_now(range(slot, len(grown)))
        self._n_used += 1
        return slot

    def give_back(self, slot: int, *, keeps_memory: bool) -> None:
        """Free a slot; without `keeps_memory` its pages go back to the system."""
        self._free.append(slot)
        self._freed |= self._freed_now([slot])
        if not keeps_memory and self._memory is not None:
            self._memory.madvise(mmap.MADV_DONTNEED, slot * self.slot_bytes, self.slot_bytes)

    def fill(self, slot: int, write: Callable[[torch.Tensor], None]) -> None:
        """Let `write` fill a slot's row [P]; after what it raises the slot may hold anything."""
        if self._copies is None:
            write(self.row(slot))
        else:
            self._copies.fill(self.row(slot), write, after=self._freed.pop(slot, None))

    def settle(self) -> None:
        """Let the passes from now on see every slot that was filled; the host does not wait."""
        if self._copies is not None:
            self._copies.settle()

    def row(self, slot: int) -> torch.Tensor:
        """Return one adapter's elements [P], to be written or read in place."""
        return self._slab[slot, :self.shape.n_elements]

    def gather(self, slots: Sequence[int]) -> torch.Tensor:
        """Return a copy of several adapters [D, P]."""
        return self._slab.index_select(0, on_device(torch.tensor(slots), self._device))

    def gather_layer(self, slots: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return copies of several adapters' A [D, R, I] and B [D, O, R] of one layer. slots [D] int64."""
        start, middle, end = self._offsets[layer]
        shape, rank = self._shapes[layer], self.shape.rank
        part = self._slab[:, start:end].index_select(0, slots)
        return (part[:, :middle - start].unflatten(1, (rank, shape.in_features)),
                part[:, middle - start:].unflatten(1, (shape.out_features, rank)))

    def views(self, rows: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return A [..., R, I] and B [..., O, R] of a layer inside rows [..., P]; [P] gives [R, I] and [O, R]."""
        start, middle, end = self._offsets[layer]
        shape, lead = self._shapes[layer], rows.shape[:-1]
        return (rows[..., start:middle].unflatten(-1, (self.shape.rank, shape.in_features)) if lead
                else rows[start:middle].view(self.shape.rank, shape.in_features),
                rows[..., middle:end].unflatten(-1, (shape.out_features, self.shape.rank)) if lead
                else rows[middle:end].view(shape.out_features, self.shape.rank))

    def _freed_now(self, slots: Sequence[int]) -> dict[int, Any]:
        """Return for each slot the event after which it may be written: passes that read it may still be under way."""
        return {} if self._copies is None else dict.fromkeys(slots, self._copies.computed())

    def _reserve(self, n_slots: int) -> torch.Tensor:
        width = self.slot_bytes // self._dtype.itemsize
        if self._device.type != "cpu":
            return torch.empty(n_slots, width, dtype=self._dtype, device=self._device)
        # Private anonymous memory: nothing is taken before it is written, and single slots can be given back.
        self._memory = mmap.mmap(-1, n_slots * self.slot_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return torch.frombuffer(self._memory, dtype=self._dtype).view(n_slots, width)


class Slots:
    """All slabs, one for each shape of adapter that came along. Not thread-safe."""

    def __init__(self, *, dtype: torch.dtype, device: torch.device, budget_bytes: int,
                 max_slots: int | None = None) -> None:
        self.dtype, self.device = dtype, device
        self.budget_bytes, self.max_slots = budget_bytes, max_slots
        self._pools: dict[SlotShape, SlotPool] = {}

    def pool_of(self, shape: SlotShape) -> SlotPool:
        """Return the slab for a shape, made at its first use."""
        if shape not in self._pools:
            probe = -(-shape.n_elements * self.dtype.itemsize // PAGE_BYTES) * PAGE_BYTES
            fitting = max(1, self.budget_bytes // max(1, probe))
            n_slots = fitting if self.max_slots is None else min(fitting, self.max_slots)
            copies = None if self.device.type == "cpu" else SideCopies(self.device, shape.n_elements, self.dtype)
            self._pools[shape] = SlotPool(shape, dtype=self.dtype, device=self.device, max_slots=n_slots,
                                          copies=copies)
        return self._pools[shape]

    def settle(self) -> None:
        """Let the passes from now on see every slot that was filled; the host does not wait."""
        for pool in self._pools.values():
            pool.settle()
