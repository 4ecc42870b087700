"""Adapters that no registry ships: trained inside a scenario, in a folder that is gone with it."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapterhub.demo.show import Screen
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import run_training


@contextmanager
def trained(config: TrainConfig, rows: Sequence[dict[str, Any]], settings: Settings, screen: Screen) -> Iterator[str]:
    """Train on `rows`, show the progress, and yield the reference of the adapter's folder.

    The config's data and output are set here. Raises an AdapterHubError as `train`.
    """
    with tempfile.TemporaryDirectory(prefix="adapterhub-scenario-") as place:
        data = Path(place) / f"{config.name}.jsonl"
        data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        result = run_training(replace(config, data=str(data), output=Path(place) / config.name), settings)
        outcome = result.outcome
        screen.say(f"Trained {config.name} on {len(rows)} rows: {result.n_trained:,} parameters, "
                   f"{outcome.n_steps} steps, {outcome.seconds:.0f} s.")
        yield str(Path(place) / config.name)
