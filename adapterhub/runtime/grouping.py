"""The order of a batch's rows and what each layer adds to them, worked out once for all layers. It computes nothing."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch

from adapterhub.runtime.copies import on_device
from adapterhub.runtime.loaded import LoadedAdapter
from adapterhub.runtime.methods import LayerFactors
from adapterhub.runtime.slot_linear import LateLowRank, LayerWork, LowRank, Scales
from adapterhub.runtime.slots import SlotPool

_MOST_GATHERED = 4 << 20
"""Bytes of a slot above which copying it takes longer than the calls for a product of its own. Measured with 32
adapters in bfloat16: at 2.7 MB (rank 32) equal, at 5.3 MB (rank 64) 1.8 and 1.5 times the bare base."""
_LATE = ("cpu", torch.float32)
"""Where slots are copied layer by layer, to be multiplied out of the cache. Measured with 32 adapters of rank 8: a pass
takes 0.95 of the time in float32; in bfloat16, whose copies are half as large, 1.02."""
_Products = dict[str, list[LowRank | LateLowRank]]


def order_of(adapters: Sequence[LoadedAdapter]) -> list[int]:
    """Return row indices so that rows of one slab, of adapters with equally many rows, of one adapter, are neighbours.

    Rows with factors come last, so that one range holds them all.
    """
    n_rows = Counter(adapter.digest for adapter in adapters)

    def key(i: int) -> tuple[bool, int, int, str]:
        adapter = adapters[i]
        return bool(adapter.factors), id(adapter.pool) if adapter.pool else 0, n_rows[adapter.digest], adapter.digest

    return sorted(range(len(adapters)), key=key)


def work_of(ordered: Sequence[LoadedAdapter], dtype: torch.dtype, device: torch.device, *,
            is_kept: bool = False) -> dict[str, LayerWork]:
    """Return layer -> what it adds, for rows in the order of `order_of`; a layer that no row changes is not in it.

    Slots are copied all at once, or layer by layer as the pass goes; `is_kept`: the work is for many passes, as a
    generation's steps.
    """
    is_late = not is_kept and (device.type, dtype) == _LATE
    low_rank: _Products = defaultdict(list)
    for run in _runs(ordered):
        _add_run(run, low_rank, is_late=is_late)
    scales = _scales(ordered, dtype, device)
    return {layer: LayerWork(tuple(low_rank.get(layer, ())), scales.get(layer))
            for layer in {*low_rank, *scales}}


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring rows of adapters of one slab that have equally many rows each."""

    start: int
    stop: int
    adapters: list[LoadedAdapter]


def _runs(ordered: Sequence[LoadedAdapter]) -> list[_Run]:
    runs: list[_Run] = []
    start, previous_size = 0, 0
    for _, members in groupby(ordered, key=lambda adapter: adapter.digest):
        rows = list(members)
        adapter, stop = rows[0], start + len(rows)
        last = runs[-1] if runs else None
        if last and last.stop == start and last.adapters[0].pool is adapter.pool and previous_size == len(rows):
            runs[-1] = _Run(last.start, stop, [*last.adapters, adapter])
        elif adapter.pool is not None:
            runs.append(_Run(start, stop, [adapter]))
        start, previous_size = stop, len(rows)
    return runs


def _add_run(run: _Run, low_rank: _Products, *, is_late: bool) -> None:
    pool = run.adapters[0].pool
    assert pool is not None, "runs are made of adapters with a slot"
    if len(run.adapters) == 1:
        _add_product(run, pool, pool.row(run.adapters[0].slot), low_rank)
    elif pool.slot_bytes <= _MOST_GATHERED and is_late:
        slots = torch.tensor([adapter.slot for adapter in run.adapters])
        for layer, _ in pool.shape.layers:
            low_rank[layer].append(LateLowRank(run.start, run.stop, partial(pool.gather_layer, slots, layer)))
    elif pool.slot_bytes <= _MOST_GATHERED:
        _add_product(run, pool, pool.gather([adapter.slot for adapter in run.adapters]), low_rank)
    else:
        n_rows = (run.stop - run.start) // len(run.adapters)
        for i, adapter in enumerate(run.adapters):
            start = run.start + i * n_rows
            _add_run(_Run(start, start + n_rows, [adapter]), low_rank, is_late=is_late)


def _add_product(run: _Run, pool: SlotPool, rows: torch.Tensor, low_rank: _Products) -> None:
    """Add to each layer what `rows`, [P] or [D, P], hold of it: one gather serves all layers."""
    for layer, _ in pool.shape.layers:
        low_rank[layer].append(LowRank(run.start, run.stop, *pool.views(rows, layer)))


def _scales(ordered: Sequence[LoadedAdapter], dtype: torch.dtype, device: torch.device) -> dict[str, Scales]:
    start = next((i for i, adapter in enumerate(ordered) if adapter.factors), len(ordered))
    rows = ordered[start:]
    layers = dict.fromkeys(layer for adapter in rows for layer in adapter.factors)
    stacked = {}
    for layer in layers:
        own = [adapter.factors.get(layer, LayerFactors()) for adapter in rows]
        stacked[layer] = Scales(start, len(ordered), *(
            _stack([getattr(factors, name) for factors in own], neutral, dtype, device)
            for name, neutral in (("in_scale", 1.0), ("out_scale", 1.0), ("out_shift", 0.0))))
    return stacked


def _stack(values: Sequence[torch.Tensor | None], neutral: float, dtype: torch.dtype,
           device: torch.device) -> torch.Tensor | None:
    """Stack each row's vector as [N, 1, F]; None where no row has one."""
    present = next((value for value in values if value is not None), None)
    if present is None:
        return None
    plain = torch.full_like(present, neutral)
    stacked = torch.stack([plain if value is None else value for value in values])[:, None]
    return on_device(stacked.to(dtype), device)
