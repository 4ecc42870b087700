"""Steps of one arm at given batch sizes and lengths, in a process of its own: `python -m adapterhub.costs.cell`.

It speaks the protocol of arm.py, and trains by the trainer's own loop on made-up rows that all have the same length, so
that nothing of the estimate is in what it is compared with. What the time's estimate is drawn from is measured beside.
"""

import gc
import json
import random
import statistics
import sys
import warnings
from pathlib import Path
from typing import Any

import psutil
import torch

from adapterhub.bases.load import Base
from adapterhub.bases.processor import keep_few_kernels
from adapterhub.costs.allocator import forget_peak, give_memory_back, keep_memory, peak_above
from adapterhub.costs.arm import import_ahead, own_channel, wait_for_turn
from adapterhub.costs.calibrate import Calibration
from adapterhub.costs.shadow import StepShape
from adapterhub.costs.shapes import open_base
from adapterhub.errors import AdapterHubError
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example, TokenSequence
from adapterhub.training.config import TrainConfig
from adapterhub.training.held import hold_frozen
from adapterhub.training.loop import run_loop, seed_everything
from adapterhub.training.methods import build_model
from adapterhub.training.prepare import LoopInputs
from adapterhub.training.preset import with_preset
from adapterhub.training.remembered import remember_lower
from adapterhub.training.watch import EpochFacts, StepFacts

TASK, N_LABELS = "text-classification", 77
MEMORY_STEPS = 3
LEAST_STEPS, MOST_STEPS, TIMED_TOKENS = 9, 33, 2048
"""Steps whose time is taken: as many as these tokens make, since short ones are told from noise by their number."""


def main() -> None:
    """Run every cell that the first line names, and print what each took."""
    warnings.simplefilter("ignore")
    say = own_channel()
    given = json.loads(sys.stdin.readline())
    import_ahead()
    keep_few_kernels()
    cells = [(int(batch), int(length)) for batch, length in given["cells"]]
    say({"n_steps": sum(MEMORY_STEPS + timed_steps(batch_size, length) for batch_size, length in cells)})
    wait_for_turn()
    try:
        base = open_base(given["base"], Settings.from_environment().cache)
        give_memory_back()
        watcher = _Watcher(0 if torch.cuda.is_available() else psutil.Process().memory_info().rss, say)
        configs = [TrainConfig(task=TASK, data="made up", output=Path("nowhere"), base=given["base"], epochs=1,
                               batch_size=batch_size, max_length=length, method=given["method"], **given["more"])
                   for batch_size, length in cells]
        # Memory of all sizes before the time of any: a heap that kept memory would not be the next size's.
        peaks = [_peak_of(config, base, watcher) for config in configs]
        keep_memory()
        seconds = [_seconds_of(config, base, watcher) for config in configs]
        found = [{"batch_size": batch_size, "length": length, "peak_memory_bytes": peak, "step_seconds": taken,
                  "estimated_seconds": estimated}
                 for (batch_size, length), peak, (taken, estimated) in zip(cells, peaks, seconds, strict=True)]
    except AdapterHubError as error:
        say({"fault": str(error)})
    else:
        say({"figures": {"cells": found}})


def timed_steps(batch_size: int, length: int) -> int:
    """Return how many steps of a size are timed."""
    return min(MOST_STEPS, max(LEAST_STEPS, TIMED_TOKENS // (batch_size * length)))


class _Watcher:
    """Takes the peak and the time of steps, a turn for each."""

    def __init__(self, start_bytes: int, say: Any) -> None:
        self._start, self._say = start_bytes, say
        self._n_steps = 0
        self._calibration: Calibration | None = None
        self.peak_bytes = 0
        self.seconds: list[float] = []

    def begin(self, calibration: Calibration | None) -> None:
        """Begin a size, and let go of the one before: models are cycles, which a peak would count twice."""
        gc.collect()
        forget_peak()
        self.seconds = []
        self._calibration = calibration

    def step_ended(self, facts: StepFacts) -> None:
        """Take a step's figures, let the calibration take its own, and wait for the next turn."""
        self.peak_bytes = peak_above(self._start)
        self.seconds.append(facts.seconds)
        if self._calibration:
            self._calibration.take()
        self._n_steps += 1
        self._say({"step": self._n_steps, "note": ""})
        wait_for_turn()

    def epoch_ended(self, facts: EpochFacts) -> None:
        """Nothing is measured after an epoch."""


def _peak_of(config: TrainConfig, base: Base, watcher: _Watcher) -> int:
    give_memory_back()
    _take_steps(config, base, watcher, MEMORY_STEPS)
    return watcher.peak_bytes


def _seconds_of(config: TrainConfig, base: Base, watcher: _Watcher) -> tuple[float, float]:
    """Return the lower quartile of the steps, but for the first, which still has to ask for memory, and its estimate.

    The estimate's own steps are taken between these: a machine that others use too is not as fast a minute later.
    """
    assert config.batch_size, "every size says it"
    shape = StepShape(batch_size=config.batch_size, length=config.length, n_labels=N_LABELS)
    calibration = Calibration(with_preset(config, int(base.config.num_hidden_layers)), base, find_task(TASK), shape)
    _take_steps(config, base, watcher, timed_steps(config.batch_size, config.length), calibration)
    return statistics.quantiles(watcher.seconds[1:], n=4, method="inclusive")[0], calibration.speed().step_seconds


def _take_steps(config: TrainConfig, base: Base, watcher: _Watcher, n_steps: int,
                calibration: Calibration | None = None) -> None:
    config = with_preset(config, int(base.config.num_hidden_layers))
    seed_everything(0)
    task, labels = find_task(TASK), [f"{i:02}" for i in range(N_LABELS)]
    trained = build_model(config, base, task, labels)
    assert config.batch_size, "every size says it"
    examples = _examples(base, config.batch_size * n_steps, config.length)
    inputs = LoopInputs(train=examples, validation=[], labels=labels, pad_id=int(base.tokenizer.pad_token_id or 0))
    if config.remember_lower:
        remember_lower(trained, task, inputs)
    hold_frozen(config, trained)
    watcher.begin(calibration)
    run_loop(config, trained, task, inputs, [watcher])


def _examples(base: Base, n_rows: int, length: int) -> list[Example]:
    """Make rows of `length` tokens each, drawn from the vocabulary."""
    drawn, size = random.Random(0), int(base.config.vocab_size)  # noqa: S311  # no secret
    rows = []
    for number in range(n_rows):
        ids = [drawn.randrange(size // 2, size) for _ in range(length)]
        rows.append(Example(sequences=[TokenSequence(input_ids=ids, token_type_ids=[0] * length)],
                            target=number % N_LABELS))
    return rows


if __name__ == "__main__":
    main()
