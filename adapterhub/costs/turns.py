"""Run arms, each in a fresh process under one allocator setting, step by step in turn, and collect their figures.

In turn because a machine that others use too is not equally fast for two runs one after the other.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from adapterhub.costs.allocator import GIVING_BACK
from adapterhub.costs.figures import ArmFigures, parsed_figures
from adapterhub.errors import TrainingError
from adapterhub.progress import ShowProgress, progress_bar, waiting

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
    seed: int = 0
    is_validated: bool = False
    """False: it trains on the validation rows too and keeps the last epoch, so that no arm stops early."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of `TrainConfig`, as plain values."""
    name: str = ""
    """Of the arm; empty: its method."""
    keeps_result: bool = True
    """False: what it wrote is removed once it is measured."""
    is_timed: bool = False
    """Whether its steps' times alone are wanted: freed memory is kept from the first step on."""


def run_arms(arms: Mapping[Path, ArmSettings], show: ShowProgress = progress_bar, *,
             ended: Callable[[Path, ArmFigures], None] = lambda _, __: None) -> list[ArmFigures]:
    """Train arms (output -> settings) in turn and return their figures in order; `ended` gets each as it comes.

    Raises TrainingError with what an arm said where it fails.
    """
    with ExitStack() as stack:
        running = [stack.enter_context(started_arm(settings, output)) for output, settings in arms.items()]
        with waiting("starting a process for each arm"):
            n_steps = sum(int(arm.listen()["n_steps"]) for arm in running)
        progress = stack.enter_context(show("comparing", n_steps))
        figures: dict[Path, ArmFigures] = {}
        for n_done, arm in in_turn(running):
            progress.update(n_done, arm.name)
            if arm.result is not None:
                figures[arm.output] = parsed_figures(arm.result)
                ended(arm.output, figures[arm.output])
        return [figures[output] for output in arms]


def in_turn(running: Sequence["RunningArm"]) -> Iterator[tuple[int, "RunningArm"]]:
    """Let each process take a step, round after round; yield the steps so far and who moved.

    What comes after the last step is not timed, and all of them do it at once.
    """
    n_done = 0
    while stepping := [arm for arm in running if arm.n_left and arm.result is None]:
        for arm in stepping:
            n_done += arm.take_turn()
            yield n_done, arm
    ending = [arm for arm in running if arm.result is None]
    for arm in ending:
        arm.say("")
    for arm in ending:
        arm.hear_step()
        yield n_done, arm


class RunningArm:
    """One arm's process, and the lines that go to and fro."""

    def __init__(self, process: "subprocess.Popen[str]", name: str, output: Path, errors: IO[str]) -> None:
        assert process.stdin and process.stdout, "both are pipes"
        self._process, self._ask, self._answers, self._errors = process, process.stdin, process.stdout, errors
        self.name, self.output = name, output
        self.result: dict[str, Any] | None = None
        self.told: dict[str, Any] = {}
        """What it said last."""
        self.n_left = 0
        """Steps that it has still to take."""

    def take_turn(self) -> int:
        """Let it take one step and wait for it; return the steps taken, 0 where it finished instead."""
        self.say("")
        return self.hear_step()

    def hear_step(self) -> int:
        """Wait for the end of its turn; return as `take_turn`."""
        answer = self.listen()
        if "figures" in answer:
            self.result = answer["figures"]
        self.n_left -= int("step" in answer)
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
            raise TrainingError(f"The arm {self.name} ended early: {told[-1]}.", hint="Run it again.")
        self.told = json.loads(line)
        if "fault" in self.told:
            raise TrainingError(f"The arm {self.name} failed: {self.told['fault']}")
        self.n_left = int(self.told.get("n_steps", self.n_left))
        return self.told


@contextmanager
def started_arm(settings: ArmSettings, output: Path) -> Iterator[RunningArm]:
    """Run an arm's process for a block."""
    given = {**asdict(settings), "data": str(settings.data), "output": str(output)}
    with started("adapterhub.costs.arm", given, settings.name or settings.method, output) as arm:
        yield arm


@contextmanager
def started(module: str, given: Mapping[str, Any], name: str, output: Path) -> Iterator[RunningArm]:
    """Run a module that speaks this protocol for a block, and tell it what to do."""
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, text=True, env={**os.environ, **GIVING_BACK, **WAITING}) as process:
        assert process.stdin, "it is a pipe"
        try:
            arm = RunningArm(process, name, output, errors)
            arm.say(json.dumps(given))
            yield arm
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # what was not read any more is of no use
                process.stdin.close()
