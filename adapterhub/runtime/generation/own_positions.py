"""Position embeddings of a decoder that counts from its cache: each row gets those of its own place instead."""

from typing import Any

import torch
from torch import nn

COUNTING_DECODERS = ("bart",)
"""Encoder-decoder types whose decoders count positions for a whole batch alike, by an embedding with an offset."""


class OwnPositions:
    """Stands behind one embedding. Rows that joined a batch later are not as far as its longest one."""

    def __init__(self, embedding: nn.Module) -> None:
        """Watch an embedding; it gives its own positions until `places` are set."""
        self.places: torch.Tensor | None = None  # [B, T]
        embedding.register_forward_hook(self._embed)

    def _embed(self, embedding: Any, _: tuple[Any, ...], __: torch.Tensor) -> torch.Tensor | None:
        if self.places is None:
            return None
        return nn.functional.embedding(self.places + embedding.offset, embedding.weight)
