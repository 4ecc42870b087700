"""One arm of a comparison, in a process of its own: `python -m adapterhub.costs.arm` reads settings, prints figures."""

import json
import statistics
import sys
import warnings
from pathlib import Path

import psutil

from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.export import peak_memory_bytes
from adapterhub.training.run import run_training

WARM_UP_STEPS = 3


def main() -> None:
    """Train as standard input says and print the figures as one line of JSON, last."""
    warnings.simplefilter("ignore")
    given = json.loads(sys.stdin.read())
    config = TrainConfig(**{**given, "output": Path(given["output"])})
    before = psutil.Process().memory_info().rss
    result = run_training(config, Settings.from_environment())
    steps = result.outcome.step_seconds[WARM_UP_STEPS:] or result.outcome.step_seconds
    print(json.dumps({
        "method": config.method,
        "trained_parameters": result.n_trained,
        "disk_bytes": sum(path.stat().st_size for path in config.output.rglob("*") if path.is_file()),
        "peak_memory_bytes": peak_memory_bytes() - before,
        "step_seconds": statistics.median(steps),
        "metrics": result.evaluation.metrics,
        "n_test_rows": result.evaluation.n_rows,
    }))


if __name__ == "__main__":
    main()
