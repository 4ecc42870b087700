"""One arm of a comparison, in a process of its own: `python -m adapterhub.costs.arm`, driven by compare.py.

Lines of JSON go both ways. In: the settings, then one empty line for each step that it may take. Out: the number of
steps, then one line after each step, then the figures, or the fault. So two arms take turns, and never compute at once.
"""

import json
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from adapterhub.bases.processor import peak_memory_bytes
from adapterhub.errors import AdapterHubError
from adapterhub.progress import Progress
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult, run_training

WARM_UP_STEPS = 3
Say = Callable[[dict[str, Any]], None]


def main() -> None:
    """Train as the first line says, a step for each further line, and print the figures last."""
    warnings.simplefilter("ignore")
    say = _own_channel()
    given = json.loads(sys.stdin.readline())
    before = psutil.Process().memory_info().rss
    try:
        config = TrainConfig(**{**given, "output": Path(given["output"])})
        result = run_training(config, Settings.from_environment(), lambda _, total: _in_turns(say, total))
    except AdapterHubError as error:
        say({"fault": str(error)})
    else:
        say({"figures": _figures(config, result, before)})


class _Turns:
    """A progress that waits after each step until it is this arm's turn again."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def update(self, completed: int, note: str = "") -> None:
        """Report a step and wait."""
        self._say({"step": completed, "note": note})
        _wait()


@contextmanager
def _in_turns(say: Say, total: int) -> Iterator[Progress]:
    say({"n_steps": total})
    _wait()
    yield _Turns(say)


def _wait() -> None:
    if not sys.stdin.readline():
        raise SystemExit(1)  # who drives it is gone


def _own_channel() -> Say:
    """Keep standard output for the protocol alone; what libraries print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()
    return say


def _figures(config: TrainConfig, result: TrainResult, before: int) -> dict[str, Any]:
    steps = result.outcome.step_seconds[WARM_UP_STEPS:] or result.outcome.step_seconds
    return {
        "method": config.method,
        "learning_rate": config.rate,
        "epochs": result.outcome.epochs_done,
        "n_steps": result.outcome.n_steps,
        "trained_parameters": result.n_trained,
        "disk_bytes": sum(path.stat().st_size for path in config.output.rglob("*") if path.is_file()),
        "peak_memory_bytes": peak_memory_bytes() - before,
        "step_seconds": statistics.median(steps),
        "train_seconds": sum(result.outcome.step_seconds),
        "metrics": result.evaluation.metrics,
        "n_test_rows": result.evaluation.n_rows,
    }


if __name__ == "__main__":
    main()
