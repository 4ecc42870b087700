"""Keys and values of the rows in flight: one tensor per layer, a row for each sequence, within a budget of bytes.

Rows are aligned to the right, as transformers pads prompts: the newest token of every row lies in the same column, so
a step writes one column, and each architecture's own masks (causal, sliding window) and relative positions hold as
they are. It knows no adapters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from transformers import Cache, EncoderDecoderCache
from transformers.cache_utils import CacheLayerMixin

from adapterhub.runtime.copies import on_device

GROWTH = 32
"""Columns that are added at once, so that not every step moves what is there."""


class Need(NamedTuple):
    """What one row takes when it is longest."""

    n_columns: int
    n_source: int = 0
    """Tokens that an encoder reads for it."""


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """Memory of one token of one row in all layers."""

    own: int
    source: int = 0

    def of(self, needs: Sequence[Need]) -> int:
        """Return the bytes of these rows together, each as long as the longest: that is how they lie in memory."""
        if not needs:
            return 0
        return len(needs) * (max(need.n_columns for need in needs) * self.own
                             + max(need.n_source for need in needs) * self.source)


class RowLayer(CacheLayerMixin):
    """One layer's keys and values [B, H, C, D]; the first `width` columns are written."""

    is_sliding = False
    keys: torch.Tensor | None
    values: torch.Tensor | None

    def __init__(self, keys: torch.Tensor | None = None, values: torch.Tensor | None = None, width: int = 0) -> None:
        super().__init__()
        self.keys, self.values, self.width = keys, values, width
        self.max_width = width
        self.is_initialized = keys is not None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Take the first keys and values as they are."""
        self.keys, self.values, self.width = key_states, value_states, key_states.shape[-2]
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any,
               **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new columns [B, H, T, D] behind the others, and return all that are written."""
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
            return key_states, value_states
        start, stop = self.width, self.width + key_states.shape[-2]
        if stop > self.keys.shape[-2]:
            n_columns = min(stop + GROWTH, max(stop, self.max_width))
            self.keys, self.values = _wider(self.keys, n_columns), _wider(self.values, n_columns)
        self.keys[:, :, start:stop] = key_states
        self.values[:, :, start:stop] = value_states
        self.width = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def get_seq_length(self) -> int:
        """Return the number of written columns."""
        return self.width

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many columns attention sees in the pass at hand, and where they start."""
        return self.width + query_length, 0

    def get_max_length(self) -> int:
        """Return -1: no maximum."""
        return -1


@dataclass(slots=True)
class KeyValues:
    """Keys and values of rows in one order."""

    own: list[RowLayer]
    cross: list[RowLayer] = field(default_factory=list)
    """Of the encoder's tokens, aligned to the left; empty for causal models."""
    lengths: list[int] = field(default_factory=list)
    """Each row's tokens in `own`."""
    source_lengths: list[int] = field(default_factory=list)

    @classmethod
    def empty(cls, n_layers: int, *, has_source: bool) -> "KeyValues":
        """Return room for a first pass."""
        return cls([RowLayer() for _ in range(n_layers)], [RowLayer() for _ in range(n_layers if has_source else 0)])

    @property
    def size_bytes(self) -> int:
        """Memory that is held."""
        return size_bytes_of(self.own) + size_bytes_of(self.cross)

    def as_cache(self) -> Cache:
        """Return them as transformers' models take them; a pass through a model writes into them."""
        if not self.cross:
            return Cache(layers=list(self.own))
        return EncoderDecoderCache(Cache(layers=list(self.own)), Cache(layers=list(self.cross)))

    def mask(self, device: torch.device, *, n_new: int = 0) -> torch.Tensor:
        """Return [B, width + n_new] int64: 1 where a row has a token."""
        columns = torch.arange(max(self.lengths) + n_new, device=device)
        return (columns >= columns.shape[0] - n_new - on_device(torch.tensor(self.lengths), device)[:, None]).long()

    def source_mask(self, device: torch.device) -> torch.Tensor:
        """Return [B, S] int64: 1 where a row has an encoder's token."""
        columns = torch.arange(max(self.source_lengths), device=device)
        return (columns < on_device(torch.tensor(self.source_lengths), device)[:, None]).long()

    def clear_padding_(self) -> None:
        """Zero what passes wrote for padding, so that nothing but numbers is ever masked."""
        if len({*self.lengths}) > 1:
            for layer in self.own:
                for tensor in (layer.keys, layer.values):
                    assert tensor is not None, "a pass was made"
                    padding = self.mask(tensor.device) == 0
                    tensor.masked_fill_(padding[:, None, :, None], 0)


def size_bytes_of(layers: Sequence[Any]) -> int:
    """Return the memory of layers' keys and values; a layer without any has none."""
    return sum(tensor.nbytes for layer in layers for tensor in (layer.keys, layer.values) if tensor is not None)


class Pick(NamedTuple):
    """One row of a new order: which part it comes from, and its place there."""

    part: int
    row: int


@torch.inference_mode()
def joined(parts: Sequence[KeyValues], picks: Sequence[Pick], *, max_width: int) -> KeyValues:
    """Return a copy of the picked rows in their order; rows that are not picked leave.

    `max_width`: columns that these rows will need at most, so that no more are held.
    """
    lengths = [parts[pick.part].lengths[pick.row] for pick in picks]
    sources = [parts[pick.part].source_lengths[pick.row] for pick in picks if parts[pick.part].source_lengths]
    width = max(lengths)
    n_columns = min(width + GROWTH, max(width, max_width))
    own, cross = [], []
    for number in range(len(parts[0].own)):
        layer = RowLayer(*_gathered([part.own[number] for part in parts], picks, width, n_columns, is_right=True),
                         width)
        layer.max_width = max_width
        own.append(layer)
    for number in range(len(parts[0].cross)):
        n_source = max(sources)
        cross.append(RowLayer(*_gathered([part.cross[number] for part in parts], picks, n_source, n_source,
                                         is_right=False), n_source))
    return KeyValues(own, cross, lengths, sources)


def _gathered(layers: Sequence[RowLayer], picks: Sequence[Pick], width: int, n_columns: int, *,
              is_right: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return new keys and values [B, H, n_columns, D], the picked rows in the first `width` columns."""
    made = []
    for name in ("keys", "values"):
        first = getattr(layers[0], name)
        new = first.new_zeros(len(picks), first.shape[1], n_columns, first.shape[3])
        for part, layer in enumerate(layers):
            into = [i for i, pick in enumerate(picks) if pick.part == part]
            rows = [pick.row for pick in picks if pick.part == part]
            shared = min(layer.width, width)
            source = getattr(layer, name)[:, :, layer.width - shared:layer.width] if is_right else (
                getattr(layer, name)[:, :, :shared])
            at = slice(width - shared, width) if is_right else slice(0, shared)
            if into:
                to, of = (on_device(torch.tensor(places), new.device) for places in (into, rows))
                new[to, :, at] = source[of]
        made.append(new)
    return made[0], made[1]


def _wider(tensor: torch.Tensor, n_columns: int) -> torch.Tensor:
    wider = tensor.new_zeros(*tensor.shape[:2], n_columns, tensor.shape[3])
    wider[:, :, :tensor.shape[2]] = tensor
    return wider
