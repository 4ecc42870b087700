"""Run two arms, each in a fresh process under one allocator setting, step by step in turn, and collect their figures.

In turn because a machine that others use too is not equally fast for two runs one after the other.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from adapterhub.errors import TrainingError
from adapterhub.progress import ShowProgress, progress_bar, waiting

# glibc keeps freed memory in per-thread arenas; without these, the peak shows the allocator, not the method.
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}
# By default waiting threads spin, on the processors that the other arm needs.
WAITING = {"GOMP_SPINCOUNT": "1000"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSettings:
    """What an arm trains; fields of `TrainConfig`."""

    method: str
    task: str
    data: Path
    base: str
    epochs: int
    batch_size: int
    max_length: int
    learning_rate: float | None = None
    """None: the method's own default."""
    is_validated: bool = False
    """False: it trains on the validation rows too and keeps the last epoch, so that no arm stops early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """What one arm came to."""

    method: str
    learning_rate: float
    epochs: int
    n_steps: int
    trained_parameters: int
    disk_bytes: int
    """All files that it wrote."""
    peak_memory_bytes: int
    """Highest resident set above what the process had before it loaded the base."""
    step_seconds: float
    """Median, after the first steps."""
    train_seconds: float
    """All steps together."""
    metrics: dict[str, float]
    """On the test rows."""
    n_test_rows: int


def run_arms(arms: Mapping[Path, ArmSettings], show: ShowProgress = progress_bar) -> list[ArmFigures]:
    """Train arms (output -> settings) in turn and return their figures in order.

    Raises TrainingError with what an arm said where it fails.
    """
    with ExitStack() as stack:
        running = [stack.enter_context(_started(settings, output)) for output, settings in arms.items()]
        with waiting("starting a process for each arm"):
            n_steps = sum(int(arm.listen()["n_steps"]) for arm in running)
        progress = stack.enter_context(show("comparing", n_steps))
        n_done = 0
        while unfinished := [arm for arm in running if arm.figures is None]:
            for arm in unfinished:
                n_done += arm.take_turn()
                progress.update(n_done, arm.method)
        return [arm.figures for arm in running if arm.figures]


class _RunningArm:
    """One arm's process, and the lines that go to and fro."""

    def __init__(self, process: "subprocess.Popen[str]", method: str, errors: IO[str]) -> None:
        assert process.stdin and process.stdout, "both are pipes"
        self._process, self._ask, self._answers, self._errors = process, process.stdin, process.stdout, errors
        self.method = method
        self.figures: ArmFigures | None = None

    def take_turn(self) -> int:
        """Let it take one step and wait for it; return the steps taken, 0 where it finished instead."""
        self.say("")
        answer = self.listen()
        if "figures" in answer:
            self.figures = ArmFigures(**answer["figures"])
        return int("step" in answer)

    def say(self, line: str) -> None:
        """Send one line; an arm that ended already is noticed by `listen`."""
        try:
            self._ask.write(line + "\n")
            self._ask.flush()
        except BrokenPipeError:
            return

    def listen(self) -> dict[str, Any]:
        """Return its next message. Raises TrainingError where it tells a fault, or ended without a word."""
        line = self._answers.readline()
        if not line:
            self._errors.seek(0)
            told = self._errors.read().strip().splitlines() or [f"exit code {self._process.wait()}"]
            raise TrainingError(f"The arm {self.method} ended early: {told[-1]}.", hint="Run it again.")
        answer: dict[str, Any] = json.loads(line)
        if "fault" in answer:
            raise TrainingError(f"The arm {self.method} failed: {answer['fault']}")
        return answer


@contextmanager
def _started(settings: ArmSettings, output: Path) -> Iterator[_RunningArm]:
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            [sys.executable, "-m", "adapterhub.costs.arm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, text=True, env={**os.environ, **ALLOCATOR, **WAITING}) as process:
        assert process.stdin, "it is a pipe"
        try:
            arm = _RunningArm(process, settings.method, errors)
            arm.say(json.dumps({**asdict(settings), "data": str(settings.data), "output": str(output)}))
            yield arm
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # what was not read any more is of no use
                process.stdin.close()
