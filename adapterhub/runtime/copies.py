"""How values reach a device with memory of its own: from pinned memory, and slots by a stream beside the computing one.

The host never waits for the device's computing. It waits for a copy only to write into the same pinned row again; the
computing stream waits, on the device, for copies that were begun before the pass. It knows no slots and no adapters.
"""

from collections.abc import Callable
from typing import Any

import torch

N_STAGED = 2
"""Pinned rows: one is filled while the other one is copied."""


class SideCopies:
    """Copies rows of one length into a device's memory while it computes. Not thread-safe.

    Of the device it takes what `torch.cuda` and `torch.cpu` have alike, so that the order of its waits can be tested
    without a GPU. Source: CUDA C++ Programming Guide, "Asynchronous Concurrent Execution".
    """

    def __init__(self, device: torch.device, n_elements: int, dtype: torch.dtype) -> None:
        self._module: Any = torch.get_device_module(device)  # mypy knows no common type of torch.cuda and torch.cpu
        self._device = device
        self._stream = self._module.Stream() if device.type == "cpu" else self._module.Stream(device=device)
        is_pinned = device.type != "cpu"
        self._staged = [torch.empty(n_elements, dtype=dtype, pin_memory=is_pinned) for _ in range(N_STAGED)]
        self._copied: list[Any] = [None] * N_STAGED
        self._next = 0

    def computed(self) -> Any:
        """Return an event of the device: the computing asked for so far is done."""
        return self._recorded(self._computing())

    def fill(self, row: torch.Tensor, write: Callable[[torch.Tensor], None], after: Any = None) -> None:
        """Let `write` fill a pinned row, and copy it to the device's `row` [P], there not before the event `after`.

        What `write` raises leaves the device's row as it was.
        """
        place, self._next = self._next, (self._next + 1) % N_STAGED
        if self._copied[place] is not None:
            self._copied[place].synchronize()
        write(self._staged[place])
        if after is not None:
            self._stream.wait_event(after)
        with self._module.stream(self._stream):
            row.copy_(self._staged[place], non_blocking=True)
        self._copied[place] = self._recorded(self._stream)

    def settle(self) -> None:
        """Let what is computed from now on wait, on the device, for every copy that was begun."""
        for event in self._copied:
            if event is not None:
                self._computing().wait_event(event)

    def _computing(self) -> Any:
        return (self._module.current_stream() if self._device.type == "cpu"
                else self._module.current_stream(self._device))

    def _recorded(self, stream: Any) -> Any:
        event = self._module.Event()
        event.record(stream)
        return event


def on_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return values that were made on the host on a device, without waiting for what it computes."""
    if device.type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)


def on_host(values: torch.Tensor) -> torch.Tensor:
    """Begin to copy values to the host, into pinned memory; on a GPU nothing may be read before `finish`."""
    return values.to("cpu", non_blocking=True)


def finish(device: torch.device) -> None:
    """Wait for a device; nothing to wait for on the processor."""
    if device.type != "cpu":
        torch.get_device_module(device).current_stream(device).synchronize()
