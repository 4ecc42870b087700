"""One arm of a comparison, in a process of its own: `python -m adapterhub.costs.arm`, driven by turns.py.

Lines of JSON go both ways. In: the settings, then one empty line for each step that it may take. Out: the number of
steps, then one line after each step, then the figures, or the fault. So arms take turns, and never compute at once.
"""

import json
import os
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch

from adapterhub.costs.allocator import forget_peak, give_memory_back, keep_memory, peak_above
from adapterhub.costs.bare import measure_bare
from adapterhub.costs.energy import NOT_MEASURABLE, EnergyCounter, find_counter
from adapterhub.costs.figures import ArmFigures, CurvePoint
from adapterhub.errors import AdapterHubError
from adapterhub.progress import Progress, Silent
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult, run_training

WARM_UP_STEPS = 3
Say = Callable[[dict[str, Any]], None]


def main() -> None:
    """Train as the first line says, a step for each further line, and print the figures last."""
    warnings.simplefilter("ignore")
    say = own_channel()
    given = json.loads(sys.stdin.readline())
    name, keeps_result, more = given.pop("name"), given.pop("keeps_result"), given.pop("more")
    is_timed = given.pop("is_timed")
    import_ahead()
    give_memory_back()
    memory = _Memory()
    try:
        if given["method"] == "bare":
            figures = measure_bare(name, {**given, **more}, Settings.from_environment(), lambda n: _first_turn(say, n))
        else:
            given = {"checkpoint_seconds": float("inf"), "trackers": (), **given, **more}
            config = TrainConfig(**{**given, "output": Path(given["output"])})
            turns = _Turns(say, memory, n_epochs=int(given["epochs"]), is_timed=is_timed)
            result = run_training(config, Settings.from_environment(), turns.begin)
            figures = _figures(name or config.method, config, result, turns)
    except AdapterHubError as error:
        say({"fault": str(error)})
    else:
        say({"figures": asdict(figures)})
    if not keeps_result:
        shutil.rmtree(given["output"], ignore_errors=True)


class _Memory:
    """The peak of this process above its start, in two phases."""

    def __init__(self) -> None:
        self.training = self.writing = 0
        self.begin()

    def begin(self) -> None:
        """Take what is resident now as the start: the libraries and the rows, before the base's weights."""
        give_memory_back()
        forget_peak()
        self._start = 0 if torch.cuda.is_available() else psutil.Process().memory_info().rss

    def end_first_epoch(self) -> None:
        """Take the peak of training; from now on freed memory is kept, so that steps take the time they do."""
        self.training = peak_above(self._start)
        keep_memory()

    def end_training(self) -> None:
        """Let the second phase begin: measuring and writing."""
        self.training = self.training or peak_above(self._start)
        give_memory_back()
        self._is_apart = forget_peak()

    def end(self) -> None:
        """Take the peak of the second phase."""
        self.writing = peak_above(self._start) if getattr(self, "_is_apart", False) else 0


class _Turns:
    """A progress that waits after each step until it is this arm's turn again."""

    def __init__(self, say: Say, memory: _Memory, *, n_epochs: int, is_timed: bool) -> None:
        self._say, self._n_epochs, self._is_timed = say, n_epochs, is_timed
        self.memory = memory
        self._counter: EnergyCounter | None = find_counter()
        self._before = 0.0
        self._begun, self._begun_by_clock = 0.0, 0.0
        self.joules = 0.0
        self.n_steps = 0
        self.processor_seconds: list[float] = []
        """Of each step."""

    @property
    def counter(self) -> str:
        """What counts energy here."""
        return self._counter.what if self._counter else NOT_MEASURABLE

    @contextmanager
    def begin(self, title: str, total: int) -> Iterator[Progress]:
        """Before training say how many steps there will be, and wait for the first turn; show nothing of other work."""
        if not title.startswith("training "):
            yield Silent()
            self.memory.begin()
            return
        self.n_steps = total
        self._say({"n_steps": total})
        if self._is_timed:
            keep_memory()
        self._wait()
        yield self
        self.memory.end_training()

    def update(self, completed: int, note: str = "") -> None:
        """Report a step and wait."""
        by_clock = time.perf_counter() - self._begun_by_clock
        self.processor_seconds.append(time.process_time() - self._begun)
        if self._counter:
            self.joules += self._counter.read_joules() - self._before
        if completed == self.n_steps // self._n_epochs and self._n_epochs > 1:
            self.memory.end_first_epoch()
        self._say({"step": completed, "note": note, "took": {
            "step_seconds": by_clock, "step_processor_seconds": self.processor_seconds[-1]}})
        self._wait()

    def _wait(self) -> None:
        wait_for_turn()
        if self._counter:
            self._before = self._counter.read_joules()
        self._begun, self._begun_by_clock = time.process_time(), time.perf_counter()


def _first_turn(say: Say, n_steps: int) -> None:
    say({"n_steps": n_steps})
    wait_for_turn()


def wait_for_turn() -> None:
    """Wait for the line that gives the next turn; end where who drives this process is gone."""
    if not sys.stdin.readline():
        raise SystemExit(1)  # who drives it is gone


def own_channel() -> Say:
    """Keep standard output for the protocol alone; what libraries print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()
    return say


def import_ahead() -> None:
    """Import what a run imports on its way, so that the memory above the start is the run's own."""
    import peft  # noqa: F401
    import scipy.stats  # noqa: F401
    import seqeval.metrics  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import transformers.models.bert.modeling_bert  # noqa: F401


def _figures(name: str, config: TrainConfig, result: TrainResult, turns: _Turns) -> ArmFigures:
    turns.memory.end()
    outcome = result.outcome
    per_epoch = outcome.n_steps // max(1, outcome.epochs_done)
    skipped = max(WARM_UP_STEPS, per_epoch * (outcome.epochs_done > 1))
    steps, processor = (_at_speed(seconds, per_epoch) for seconds in (outcome.step_seconds, turns.processor_seconds))
    # What runs ahead computes without a pause, on as many threads as steps do: its time is taken as theirs is.
    share = sum(processor) / sum(steps) if steps else 1.0
    return ArmFigures(
        arm=name, method=config.method, seed=config.seed, learning_rate=config.rate, epochs=outcome.epochs_done,
        n_steps=outcome.n_steps, trained_parameters=result.n_trained,
        disk_bytes=sum(path.stat().st_size for path in config.output.rglob("*") if path.is_file()),
        peak_memory_bytes=turns.memory.training, write_memory_bytes=turns.memory.writing,
        reserved_memory_bytes=int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0,
        step_seconds=statistics.median(steps[skipped:] or steps),
        step_processor_seconds=statistics.median(processor[skipped:] or processor),
        train_seconds=result.seconds_ahead + sum(steps),
        metrics=result.evaluation.metrics, n_test_rows=result.evaluation.n_rows,
        curve=[CurvePoint(epoch=epoch, step=per_epoch * epoch, loss=loss, metrics=metrics,
                          seconds=result.seconds_ahead + sum(steps[:per_epoch * epoch]),
                          processor_seconds=share * result.seconds_ahead + sum(processor[:per_epoch * epoch]))
               for epoch, (loss, metrics) in enumerate(zip(outcome.losses, outcome.epoch_metrics, strict=True), 1)],
        energy_joules=turns.joules if turns.counter != NOT_MEASURABLE else None, energy_counter=turns.counter)


def _at_speed(steps: list[float], per_epoch: int) -> list[float]:
    """Return steps' seconds, those of the first epoch, which was slow for memory's sake, as the later ones are."""
    later = steps[per_epoch:]
    return [*[statistics.mean(later)] * per_epoch, *later] if later else steps


if __name__ == "__main__":
    main()
