"""Run the arms, each in a fresh process under one allocator setting, and put their figures side by side."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterhub.errors import TrainingError

# glibc keeps freed memory in per-thread arenas; without these, the peak shows the allocator, not the method.
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}
TASK_COUNTS = (1, 10, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """What one arm came to."""

    method: str
    trained_parameters: int
    disk_bytes: int
    peak_memory_bytes: int
    """Highest resident set above what the process had before training."""
    step_seconds: float
    """Median."""
    metrics: dict[str, float]
    n_test_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleLine:
    """Disk and memory for a number of tasks; memory counts weights alone."""

    n_tasks: int
    adapters_bytes: int
    full_bytes: int


def run_arm(settings: Mapping[str, object], output: Path) -> ArmFigures:
    """Train one arm in its own process. Raises TrainingError with what it printed where it fails."""
    done = subprocess.run([sys.executable, "-m", "adapterhub.costs.arm"], check=False, capture_output=True, text=True,
                          input=json.dumps({**settings, "output": str(output)}), env={**os.environ, **ALLOCATOR})
    if done.returncode:
        raise TrainingError(f"The arm {settings.get('method')} failed: {done.stderr.strip().splitlines()[-1]}")
    return ArmFigures(**json.loads(done.stdout.strip().splitlines()[-1]))


def scale(adapter: ArmFigures, full: ArmFigures, base_bytes: int,
          counts: Sequence[int] = TASK_COUNTS) -> list[ScaleLine]:
    """Return the bytes of one base with N adapters, and of N full models, from the two arms' measured sizes."""
    return [ScaleLine(n_tasks=n, adapters_bytes=base_bytes + n * adapter.disk_bytes, full_bytes=n * full.disk_bytes)
            for n in counts]
