"""What a run will need, said before anything of the base is loaded: memory, bytes on disk, time, money."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
import torch

from adapterhub.bases.load import Base
from adapterhub.costs.calibrate import Speed
from adapterhub.costs.figures import MemoryParts
from adapterhub.costs.shadow import StepCount, StepShape, count_step
from adapterhub.errors import TrainingError
from adapterhub.tasks.task import Task
from adapterhub.training.config import TrainConfig
from adapterhub.training.preset import with_preset

BESIDE_TENSORS_BYTES = 0 if torch.cuda.is_available() else 46_000_000
"""What a process takes beside its tensors once it computes: oneDNN's code and scratch, pages of libraries. Read off the
grid of `adapterhub compare` on the embedded base: 39 to 50 MB at any batch and length, full or adapted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will need."""

    peak_memory_bytes: int
    """Above what the process had before it loaded the base."""
    parts: MemoryParts
    trained_parameters: int
    total_parameters: int
    file_bytes: int
    """The result's tensor file, to the byte, in the type that it is stored in."""
    flops_per_step: int
    step_seconds: float | None = None
    """None without a calibration."""
    total_seconds: float | None = None
    """All steps, and what is run ahead of them; None without a calibration or without rows."""
    n_steps: int | None = None
    """None without rows."""

    def lines(self, price_per_hour: float | None = None) -> list[tuple[str, str]]:
        """Return the estimate for people, line by line."""
        parts = self.parts
        found = [("trained parameters", f"{self.trained_parameters:,} of {self.total_parameters:,}"),
                 ("peak memory above the start", _megabytes(self.peak_memory_bytes)),
                 ("of it weights", _megabytes(parts.weights)), ("gradients", _megabytes(parts.gradients)),
                 ("optimiser", _megabytes(parts.optimizer)), ("activations kept", _megabytes(parts.activations)),
                 ("tensors of the result on disk", f"{self.file_bytes:,} bytes"),
                 ("matrix products of a step", f"{self.flops_per_step / 1e9:,.1f} GFLOP")]
        if self.step_seconds is not None:
            found.append(("a step", f"{1e3 * self.step_seconds:,.0f} ms"))
        if self.total_seconds is not None:
            found.append((f"all {self.n_steps} steps", f"{self.total_seconds:,.0f} s"))
            if price_per_hour is not None:
                found.append(("money", f"{self.total_seconds / 3600 * price_per_hour:.4f}"))
        return found


def estimate(config: TrainConfig, base: Base, task: Task, shape: StepShape, *, speed: Speed | None = None,
             n_rows: int | None = None) -> Estimate:
    """Estimate a run whose steps are of `shape`; with `n_rows` training rows, the whole of it.

    Raises InvalidConfig as `count_step`.
    """
    config = with_preset(config, int(base.config.num_hidden_layers))
    count = count_step(config, base, task, shape)
    dtype = torch.float32 if config.method == "full" or config.dtype == "float32" else torch.float16
    plan = config.plan_for(n_rows) if n_rows else None
    total = None
    if speed and plan:
        total = plan.n_steps * speed.step_seconds + plan.steps_per_epoch * speed.pass_seconds
    return Estimate(peak_memory_bytes=count.peak_bytes + BESIDE_TENSORS_BYTES, parts=count.parts,
                    trained_parameters=count.trained_parameters, total_parameters=count.total_parameters,
                    file_bytes=tensor_file_bytes(count.stored, dtype), flops_per_step=count.flops,
                    step_seconds=speed.step_seconds if speed else None, total_seconds=total,
                    n_steps=plan.n_steps if plan else None)


def tensor_file_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> int:
    """Return the size of a safetensors file with these tensors, header included, to the byte.

    Source: the safetensors format: 8 bytes, a JSON header padded with spaces to a multiple of 8, then the tensors
    ordered by name.
    """
    code = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        start, end = end, end + dtype.itemsize * math.prod(shapes[name])
        header[name] = {"dtype": code, "shape": list(shapes[name]), "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + math.ceil(length / 8) * 8 + end


def require_room(name: str, needed: Estimate | StepCount, *, available_bytes: int | None = None) -> None:
    """Raise TrainingError where a run would not fit into the memory that is free, before anything is loaded."""
    free = available_memory_bytes() if available_bytes is None else available_bytes
    wanted = needed.peak_memory_bytes if isinstance(needed, Estimate) else needed.peak_bytes
    if wanted > free:
        raise TrainingError(f"{name} needs about {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free.",
                            hint="Give a smaller --batch-size or --length, gradient checkpointing, or --preset lean.")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"


def available_memory_bytes() -> int:
    """Return what is free: on the GPU where there is one, else in the machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)
