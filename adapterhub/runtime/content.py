"""From an adapter folder's bytes to what the runtime holds of it: slot elements, factors, head, all checked.

How a file is copied is worked out once for each structure of file; adapters of one recipe then cost one copy each.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from adapterhub.adapter.check import BaseShapes, check_folder
from adapterhub.adapter.contents import AdapterTensors
from adapterhub.adapter.folder import AdapterFolder
from adapterhub.adapter.peft_config import CONFIG_FILE, PREFIX, WEIGHTS_FILE, PeftConfig, require_served
from adapterhub.errors import BaseMismatch, InvalidFolder, PredictionError
from adapterhub.runtime.methods import LayerFactors, factors_of
from adapterhub.runtime.slot_linear import SlotLayer, shapes_of
from adapterhub.runtime.slots import SlotShape

_TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
_MAX_STRUCTURES = 256
_PIECE = 32_000
"""Elements of one step: torch divides larger ones over its threads. Waking those takes longer than the step, and
where other programs want the processor too, a whole turn of the system's scheduler each time."""
Head = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterContent:
    """One checked adapter, ready to be put into a slot."""

    shape: SlotShape | None
    """None where the method has no A and B."""
    write: Callable[[torch.Tensor], None]
    """Fills a slot's row [P]. Raises InvalidFolder where the values are no numbers, or change nothing."""
    factors: Mapping[str, LayerFactors]
    """Layer -> what it multiplies and adds."""
    head: Head
    """The head model's parameters, float32."""

    @property
    def layers(self) -> set[str]:
        """Every layer it changes."""
        return {*self.factors, *(name for name, _ in (self.shape.layers if self.shape else ()))}

    @property
    def factors_bytes(self) -> int:
        """Memory of the factors."""
        return sum(factors.size_bytes for factors in self.factors.values())


class AdapterReader:
    """Checks folders against one base and prepares them. Thread-safe: it keeps plans alone, which never change."""

    def __init__(self, base: BaseShapes, layers: Mapping[str, SlotLayer],
                 outside: Mapping[str, torch.Tensor] | None = None) -> None:
        """`outside`: the base's weights that belong to heads, by name; a product there is folded into the head."""
        self._base, self._layers, self._outside = base, layers, outside or {}
        self._shapes = shapes_of(layers)
        self._plans: dict[object, _CopyPlan] = {}

    def read(self, folder: AdapterFolder) -> AdapterContent:
        """Check and prepare a folder.

        Raises BaseMismatch, InvalidFolder as `check_folder`; PredictionError where it changes what cannot be shared.
        """
        require_served(folder.config, folder.path)
        header = _header_of(folder)
        key = _structure(folder, header)
        plan = self._plans.get(key)
        if plan is None:
            tensors = check_folder(folder, self._base)
            self._require_layers(folder, tensors)
            if folder.config.moves_base or not _is_plain(tensors) or self._products_outside(tensors):
                return self._read_tensors(folder, tensors)
            plan = self._plan(folder, header, tensors)
            if len(self._plans) < _MAX_STRUCTURES:
                self._plans[key] = plan
        elif folder.manifest.base.fingerprint != self._base.fingerprint:
            raise BaseMismatch(str(folder.path), folder.manifest.base.fingerprint, self._base.fingerprint)
        return plan.content(folder, len(header), self._base)

    def _require_layers(self, folder: AdapterFolder, tensors: AdapterTensors) -> None:
        folded = {*tensors.magnitude, *tensors.bias_b, *tensors.scale}
        unknown = sorted(name for module in tensors.modules if (name := self._base.strip(module)) not in self._shapes
                         and (f"{name}.weight" not in self._outside or module in folded))
        unknown += sorted(name for name in map(self._base.strip, tensors.bias)
                          if name not in self._layers and not name.startswith("pooler."))
        if unknown:
            raise PredictionError(f"Adapter {folder.path} changes {unknown[0]}, which rows cannot share.",
                                  hint="Train it on linear layers inside the base's repeated layers.")

    def _read_tensors(self, folder: AdapterFolder, tensors: AdapterTensors) -> AdapterContent:
        """Prepare what is more than A, B and a head; slower, and complete."""
        head = {name: torch.from_numpy(array.astype("float32")) for name, array in tensors.head.items()}
        for module in self._products_outside(tensors):
            a, b = (torch.from_numpy(pairs.pop(module).astype("float32")) for pairs in
                    (tensors.delta_a, tensors.delta_b))
            weight = self._outside[f"{self._base.strip(module)}.weight"].float().cpu()
            head[f"{module}.weight"] = weight + folder.config.scaling_of(module) * (b @ a)
        factors, products = factors_of(tensors, folder.config, self._base.strip, self._layers)
        head |= {f"{module}.bias": torch.from_numpy(array.astype("float32")) for module, array in tensors.bias.items()
                 if self._base.strip(module) not in self._layers}
        if not products:
            return AdapterContent(shape=None, write=_write_nothing, factors=factors, head=head)
        shape = SlotShape.of({layer: self._shapes[layer] for layer in products},
                             max(a.shape[0] for a, _ in products.values()))

        def write(row: torch.Tensor) -> None:
            row.zero_()
            for layer, (start, middle, end) in shape.offsets.items():
                a, b = products[layer]
                row[start:middle].view(shape.rank, -1)[:a.shape[0]] = a
                row[middle:end].view(-1, shape.rank)[:, :b.shape[1]] = b
        return AdapterContent(shape=shape, write=write, factors=factors, head=head)

    def _products_outside(self, tensors: AdapterTensors) -> list[str]:
        return [module for module in tensors.delta_a if self._base.strip(module) not in self._shapes]

    def _plan(self, folder: AdapterFolder, header: bytes, tensors: AdapterTensors) -> "_CopyPlan":
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        strip = {self._base.strip(module): module for module in tensors.delta_a}
        shape = SlotShape.of({layer: self._shapes[layer] for layer in strip},
                             max(a.shape[0] for a in tensors.delta_a.values()))
        return _CopyPlan.of(shape, entries, strip, folder.config, sorted(tensors.head))


@dataclass(frozen=True, slots=True)
class _Copy:
    """A run of elements that lie side by side in the file and in the slot, or one matrix that needs its own step."""

    source: int
    into: int
    n_elements: int
    columns: tuple[int, int] | None = None
    """(own rank, slab's rank) of a B narrower than the slab's."""


@dataclass(frozen=True, slots=True)
class _CopyPlan:
    """Where each element of one structure of file goes."""

    shape: SlotShape
    dtype: torch.dtype
    """Of the file."""
    copies: tuple[_Copy, ...]
    is_padded: bool
    """Whether some of the slot is not written by a copy, and must be zero."""
    scaling: torch.Tensor | None  # [P] ones at A, the scaling at B; None where all are one
    head: tuple[tuple[str, int, tuple[int, ...]], ...]
    """Name, first element and shape of each parameter."""

    @classmethod
    def of(cls, shape: SlotShape, entries: Mapping[str, dict[str, Any]], strip: Mapping[str, str],
           config: PeftConfig, head: list[str]) -> "_CopyPlan":
        """Work the plan out from a file's header."""
        dtype = _TYPES[str(next(iter(entries.values()))["dtype"])]
        first = {name: int(entry["data_offsets"][0]) // dtype.itemsize for name, entry in entries.items()}
        copies: list[_Copy] = []
        scaling = torch.ones(shape.n_elements)
        for layer, (start, middle, end) in shape.offsets.items():
            module = strip[layer]
            rank, own = shape.rank, config.rank_of(module)
            copies.append(_Copy(first[f"{PREFIX}{module}.lora_A.weight"], start, (middle - start) // rank * own))
            copies.append(_Copy(first[f"{PREFIX}{module}.lora_B.weight"], middle, (end - middle) // rank * own,
                                None if own == rank else (own, rank)))
            scaling[middle:end] = config.scaling_of(module)
        is_padded = sum(copy.n_elements for copy in copies) < shape.n_elements
        places = tuple((name, first[PREFIX + name], tuple(entries[PREFIX + name]["shape"])) for name in head)
        return cls(shape, dtype, _merged(copies), is_padded, None if bool((scaling == 1).all()) else scaling, places)

    def content(self, folder: AdapterFolder, header_bytes: int, base: BaseShapes) -> AdapterContent:
        """Bind the plan to one file's bytes. Raises InvalidFolder where the head holds no numbers."""
        data = bytearray(memoryview(folder.files[WEIGHTS_FILE])[8 + header_bytes:])  # torch wants bytes it may write
        flat = torch.frombuffer(data, dtype=self.dtype)
        head = {name: torch.empty(shape) for name, _, shape in self.head}
        for name, start, shape in self.head:
            values = head[name].view(-1)
            _copy_(values, flat[start:start + math.prod(shape)], None)
            if not _is_finite(values) or (name.endswith(".weight") and not _has_value(values)):
                _refuse(folder, base)

        def write(row: torch.Tensor) -> None:
            self._fill(row, flat)
            if not _is_finite(row) or not self._changes_something(row):
                _refuse(folder, base)
        return AdapterContent(shape=self.shape, write=write, factors={}, head=head)

    def _fill(self, row: torch.Tensor, flat: torch.Tensor) -> None:
        if self.is_padded:
            row.zero_()
        for copy in self.copies:
            source = flat[copy.source:copy.source + copy.n_elements]
            if copy.columns is None:
                into = slice(copy.into, copy.into + copy.n_elements)
                _copy_(row[into], source, None if self.scaling is None else self.scaling[into])
            else:
                own, rank = copy.columns
                n_outputs = copy.n_elements // own
                scaled = source.float() if self.scaling is None else source.float() * self.scaling[copy.into]
                row[copy.into:copy.into + n_outputs * rank].view(n_outputs, rank)[:, :own] = scaled.view(n_outputs, own)

    def _changes_something(self, row: torch.Tensor) -> bool:
        return any(_has_value(row[middle:end]) for _, middle, end in self.shape.offsets.values())


def _copy_(into: torch.Tensor, source: torch.Tensor, scaling: torch.Tensor | None) -> None:
    """Write source [N], times the scaling [N] where there is one, into a tensor [N] of any type and device.

    By way of float32: torch converts to and from it 10 times as fast as between the 16-bit types, and what is scaled
    is rounded once.
    """
    for start in range(0, source.numel(), step := _step(into)):
        piece = slice(start, start + step)
        wide = source[piece].float()
        into[piece].copy_(wide if scaling is None else wide * scaling[piece])


def _is_finite(values: torch.Tensor) -> bool:
    """Say whether the sum of values [N] is a number: a NaN or an infinity makes it none, as an overflow may."""
    sums = [piece.sum(dtype=torch.float32) for piece in values.split(_step(values))]
    return bool(torch.isfinite(sums[0] if len(sums) == 1 else torch.stack(sums).sum()))


def _has_value(values: torch.Tensor) -> bool:
    """Say whether any of values [N] is not zero."""
    return any(bool(piece.any()) for piece in values.split(_step(values)))


def _step(values: torch.Tensor) -> int:
    return _PIECE if values.device.type == "cpu" else max(1, values.numel())


def _merged(copies: list[_Copy]) -> tuple[_Copy, ...]:
    """Join neighbours, so that a file in the slab's own order is one copy."""
    joined: list[_Copy] = []
    for copy in copies:
        last = joined[-1] if joined else None
        if (last and copy.columns is None and last.columns is None and last.source + last.n_elements == copy.source
                and last.into + last.n_elements == copy.into):
            joined[-1] = _Copy(last.source, last.into, last.n_elements + copy.n_elements)
        else:
            joined.append(copy)
    return tuple(joined)


def _header_of(folder: AdapterFolder) -> bytes:
    data = folder.files[WEIGHTS_FILE]
    length = int.from_bytes(data[:8], "little")
    return data[8:8 + length]


def _structure(folder: AdapterFolder, header: bytes) -> object:
    """Return what decides every check but those of the values: equal structures have one plan."""
    manifest = folder.manifest
    return (header, len(folder.files[WEIGHTS_FILE]), folder.files[CONFIG_FILE], manifest.task, tuple(manifest.labels),
            manifest.method.rank, manifest.method.n_parameters, tuple(manifest.head.modules))


def _is_plain(tensors: AdapterTensors) -> bool:
    types = {array.dtype for _, arrays in tensors.named() for array in arrays.values()}
    types |= {array.dtype for array in tensors.head.values()}
    return bool(tensors.delta_a) and len(types) == 1 and not (tensors.magnitude or tensors.bias_b or tensors.scale
                                                              or tensors.bias)


def _refuse(folder: AdapterFolder, base: BaseShapes) -> None:
    """Raise what the full check says. Where it says nothing, the sum only overflowed, and the values are numbers."""
    check_folder(folder, base)


def _write_nothing(row: torch.Tensor) -> None:
    raise InvalidFolder("", ["a method without A and B takes no slot"])
