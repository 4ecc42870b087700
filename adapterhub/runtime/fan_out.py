"""One text for several adapters: the layers below the first adapted one compute it once. It knows no adapters.

The architecture's own code runs as it is; at the first adapted layer, and at each one after it, whatever has a row
for each text is repeated so that it has one for each row.
"""

from typing import Any

import torch
from torch import nn


class FanOut:
    """Hooks on the base's repeated layers; idle until a pass says how its rows share texts."""

    def __init__(self, trunk: nn.Module) -> None:
        self.n_layers = 0
        self._text_of_row: torch.Tensor | None = None  # [B]
        self._n_texts = self._first = 0
        for name, module in trunk.named_modules():
            if _is_repeated(name) and layer_number(name) == self.n_layers:
                module.register_forward_pre_hook(self._hook(self.n_layers), with_kwargs=True)
                self.n_layers += 1

    def start(self, text_of_row: torch.Tensor, n_texts: int, first_layer: int) -> None:
        """Let layers from `first_layer` on see a row for each entry of `text_of_row` [B]."""
        self._text_of_row, self._n_texts, self._first = text_of_row, n_texts, first_layer

    def stop(self) -> None:
        """Let every pass go through as it is."""
        self._text_of_row = None

    def _hook(self, number: int) -> Any:
        def repeat(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if self._text_of_row is None or number < self._first:
                return None
            return tuple(map(self._repeat, args)), {name: self._repeat(value) for name, value in kwargs.items()}
        return repeat

    def _repeat(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._repeat, value))
        if isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape[0] == self._n_texts:
            return value.index_select(0, self._text_of_row)  # type: ignore[arg-type]  # the hook looked
        return value


def layer_number(layer: str) -> int | None:
    """Return the number of the repeated layer that a module lies in; None where it lies outside."""
    return next((int(part) for part in layer.split(".") if part.isdecimal()), None)


def _is_repeated(name: str) -> bool:
    """Say whether a module is itself one of the repeated layers: `encoder.layer.3`, not what lies in it."""
    parts = name.split(".")
    return parts[-1].isdecimal() and sum(part.isdecimal() for part in parts) == 1
