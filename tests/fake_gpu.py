"""A GPU that is not there: torch's fake tensors say where every value lies, and refuse what would wait for the device.

Fake tensors know shapes, types and devices, and no values. An operation on tensors of two devices raises; so does one
that asks a tensor of the device for its value, which on a GPU would have the host wait. Where torch is built without
CUDA, Python's own indexing asks for a device's guard, so it is put in other words here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class FakeGpu(TorchFunctionMode):
    """What is asked for on the device, or with tensors of it, is done with fake tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.fakes = FakeTensorMode(allow_non_fake_inputs=True)
        self.log: list[str] = []
        """Calls of streams and events in their order."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.pin_memory:
            return args[0]
        kwargs.pop("pin_memory", None)
        is_there = any(isinstance(value, FakeTensor) for value in _flat([*args, *kwargs.values()]))
        if not is_there and not any(_is_gpu(value) for value in [*args, *kwargs.values()]):
            return func(*args, **kwargs)
        if _waits(func, args, kwargs):
            self.log.append("host waits for computing")
        with self.fakes:
            if func is torch.Tensor.to:
                args = (self.fakes.from_tensor(args[0]), *args[1:])
            return _called(func, args, kwargs)

    @contextmanager
    def stream(self, stream: "_Stream") -> Iterator[None]:
        """Run a block on a stream."""
        self.log.append(f"on {stream.name}")
        yield


class _Stream:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def wait_event(self, event: "_Event") -> None:
        self.log.append(f"{self.name} waits for {event.name}")

    def synchronize(self) -> None:
        self.log.append(f"host waits for {self.name}")


class _Event:
    def __init__(self, log: list[str]) -> None:
        self.log, self.name = log, ""

    def record(self, stream: _Stream) -> None:
        self.name = f"{stream.name} {sum(line.startswith('event') for line in self.log)}"
        self.log.append(f"event {self.name}")

    def synchronize(self) -> None:
        self.log.append(f"host waits for {self.name}")


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """Let torch have a GPU for a block, as far as devices, streams and events go."""
    gpu = FakeGpu()

    class Module:
        """What `torch.cuda` has of streams and events."""

        @staticmethod
        def Stream(device: torch.device) -> _Stream:
            assert device.type == GPU.type
            return _Stream(gpu.log, "copies")

        @staticmethod
        def Event() -> _Event:
            return _Event(gpu.log)

        @staticmethod
        def current_stream(device: torch.device) -> _Stream:
            assert device.type == GPU.type
            return _Stream(gpu.log, "computing")

        stream = gpu.stream

    def module_of(device: torch.device) -> Any:
        return Module if device.type == GPU.type else torch.cpu

    monkeypatch.setattr(torch, "get_device_module", module_of)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(nn.Module, "_apply", _applied)
    with gpu:
        yield gpu


def _applied(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> nn.Module:
    """Do what torch's own does, which puts no fake tensor in the place of a real one."""
    for part in module.modules() if recurse else (module,):
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = nn.Parameter(change(value.data), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = change(buffer)
    return module


def _waits(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Say whether a GPU's host would wait in a copy between it and the device."""
    if func is torch.tensor:
        return True
    if func not in (torch.Tensor.cpu, torch.Tensor.to) or kwargs.get("non_blocking"):
        return False
    named = [torch.device(value) for value in [*args[1:], *kwargs.values()] if isinstance(value, torch.device | str)]
    target = CPU if func is torch.Tensor.cpu else next(iter(named), args[0].device)
    return bool(target.type != args[0].device.type)


def _called(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func is torch.Tensor.__getitem__:
        return _part(*args)
    if func is torch.Tensor.__setitem__:
        torch.ops.aten.copy_(_part(args[0], args[1]), torch.as_tensor(args[2]))
        return None
    if func is torch.Tensor.__deepcopy__:
        return nn.Parameter(args[0].data.clone(), requires_grad=False)
    try:
        return func(*args, **kwargs)
    except RuntimeError as error:
        if "not linked" not in str(error):
            raise
    if func is torch.Tensor.contiguous:
        return torch.ops.aten.clone(args[0], memory_format=torch.contiguous_format)
    return getattr(torch.ops.aten, func.__name__)(*args, **kwargs)


def _part(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    """Return tensor[index], by operations that ask for no device's guard."""
    steps = list(index) if isinstance(index, tuple) else [index]
    if any(step is Ellipsis for step in steps):
        place = next(i for i, step in enumerate(steps) if step is Ellipsis)
        n_given = sum(step is not None and step is not Ellipsis for step in steps)
        steps[place:place + 1] = [slice(None)] * (tensor.ndim - n_given)
    dim, places = 0, {}
    for step in steps:
        if isinstance(step, int):
            tensor = torch.ops.aten.select(tensor, dim, step)
            continue
        if step is None:
            tensor = torch.ops.aten.unsqueeze(tensor, dim)
        elif isinstance(step, slice):
            tensor = torch.ops.aten.slice(tensor, dim, step.start, step.stop, step.step or 1)
        else:
            places[dim] = step
        dim += 1
    return torch.ops.aten.index(tensor, [places.get(i) for i in range(max(places) + 1)]) if places else tensor


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(list(value))
        else:
            yield value


def _is_gpu(value: Any) -> bool:
    return (isinstance(value, torch.device) and value.type == GPU.type) or (
        isinstance(value, str) and value.startswith(GPU.type))
