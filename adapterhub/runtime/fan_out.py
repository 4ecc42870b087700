"""One text for several adapters: the layers below the first adapted one compute it once. It knows no adapters.

The architecture's own code runs as it is; at the first adapted layer, and at each one after it, whatever has a row
for each text is repeated so that it has one for each row.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class FanOut:
    """Hooks on the base's repeated layers; idle until a pass says how its rows share texts."""

    def __init__(self, trunk: nn.Module) -> None:
        self.n_layers = 0
        self._text_of_row: torch.Tensor | None = None  # [B]
        self._first = 0
        self._learned_rows = 0
        self._is_row_wise: dict[tuple[int, str], bool] = {}
        for name, module in trunk.named_modules():
            if _is_repeated(name) and layer_number(name) == self.n_layers:
                module.register_forward_pre_hook(self._hook(self.n_layers), with_kwargs=True)
                self.n_layers += 1

    def learn(self, n_rows: int) -> None:
        """Take from the next pass, of `n_rows`, which of the layers' arguments have a row for each row; 0 ends it."""
        self._learned_rows = n_rows

    def start(self, text_of_row: torch.Tensor, first_layer: int) -> None:
        """Let layers from `first_layer` on see a row for each entry of `text_of_row` [B]."""
        self._text_of_row, self._first = text_of_row, first_layer

    def stop(self) -> None:
        """Let every pass go through as it is."""
        self._text_of_row = None

    def _hook(self, number: int) -> Any:
        def repeat(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if self._learned_rows:
                for place, value in _places(args, kwargs):
                    self._is_row_wise[number, place] = value.ndim > 0 and value.shape[0] == self._learned_rows
            if self._text_of_row is None or number < self._first:
                return None
            return (tuple(self._repeat(number, str(i), value) for i, value in enumerate(args)),
                    {name: self._repeat(number, name, value) for name, value in kwargs.items()})
        return repeat

    def _repeat(self, number: int, place: str, value: Any) -> Any:
        """Repeat what has a row for each text; the hidden states have a row for each row once they were repeated."""
        if isinstance(value, tuple):
            return tuple(self._repeat(number, f"{place}.{i}", item) for i, item in enumerate(value))
        rows = self._text_of_row
        assert rows is not None, "the hook looked"
        if not isinstance(value, torch.Tensor) or not self._is_row_wise.get((number, place)):
            return value
        is_repeated = value.shape[0] == rows.shape[0]
        return value if is_repeated else value.index_select(0, rows)


def _places(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor among a layer's arguments, with a name for its place."""
    pending: list[tuple[str, Any]] = [*((str(i), value) for i, value in enumerate(args)), *kwargs.items()]
    while pending:
        place, value = pending.pop()
        if isinstance(value, tuple):
            pending += [(f"{place}.{i}", item) for i, item in enumerate(value)]
        elif isinstance(value, torch.Tensor):
            yield place, value


def layer_number(layer: str) -> int | None:
    """Return the number of the repeated layer that a module lies in; None where it lies outside."""
    return next((int(part) for part in layer.split(".") if part.isdecimal()), None)


def _is_repeated(name: str) -> bool:
    """Say whether a module is itself one of the repeated layers: `encoder.layer.3`, not what lies in it."""
    parts = name.split(".")
    return parts[-1].isdecimal() and sum(part.isdecimal() for part in parts) == 1
