"""Trainings that are killed again and again, beside one that is not: how far their weights are apart at the end.

Processes are forked from one that has imported everything; each is killed by SIGKILL once it has made a number of steps
that was drawn, and the next one goes on from what it left.
"""

import itertools
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

from safetensors.torch import load_file

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import run_training
from adapterhub.training.run_folder import RunFolder, Start
from adapterhub.training.watch import EpochFacts, StepFacts

KILLS_PER_RUN = 5


class Teller:
    """Tells each step to who watches from outside."""

    def __init__(self, outside: Connection) -> None:
        self._outside = outside

    def step_ended(self, facts: StepFacts) -> None:
        """Tell the step."""
        self._outside.send(facts.step)

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Tell nothing: the step was told."""


def largest_difference(config_for: Callable[[str], TrainConfig], n_kills: int, seed: int,
                       tell: Callable[[int], None]) -> tuple[float, int]:
    """Return the largest absolute difference of any trained value, and the kills that fell into a run.

    `config_for` gives the same settings for another output; each run has dropout and is killed five times.
    """
    drawn = random.Random(seed)
    whole = config_for("whole")
    _run(whole, "new", None)
    expected = load_file(whole.output / WEIGHTS_FILE)
    worst, n_done = 0.0, 0
    for number in itertools.count():
        if n_done >= n_kills:
            break
        config = config_for(f"killed-{number}")
        for _ in range(min(KILLS_PER_RUN, n_kills - n_done)):
            if not _is_done(config):  # it may end before its step comes
                n_done += _run(config, _start(config), drawn.randint(1, 12))
                tell(n_done)
        if not _is_done(config):
            _run(config, _start(config), None)
        found = load_file(config.output / WEIGHTS_FILE)
        worst = max(worst, *(float((found[name] - expected[name]).abs().max()) for name in expected))
    return worst, n_done


def _is_done(config: TrainConfig) -> bool:
    return (config.output / WEIGHTS_FILE).exists()


def _start(config: TrainConfig) -> Start:
    return "resume" if RunFolder(config.output).is_stopped else "new"


def _run(config: TrainConfig, start: Start, n_steps: int | None) -> bool:
    """Train in a forked process; kill it once it has made `n_steps`; say whether it was killed."""
    inside, outside = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_train, args=(config, start, outside))
    process.start()
    outside.close()
    n_seen = 0
    while n_steps is None or n_seen < n_steps:
        try:
            inside.recv()
        except EOFError:
            break
        n_seen += 1
    if n_seen == n_steps and process.pid:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise SystemExit(f"a training ended with exit code {process.exitcode}")
    return process.exitcode == -signal.SIGKILL


def _train(config: TrainConfig, start: Start, outside: Connection) -> None:
    run_training(config, Settings.from_environment(), start=start, watchers=[Teller(outside)])
