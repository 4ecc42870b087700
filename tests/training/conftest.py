"""Runs of the trainer on the tiny base."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterhub.bases.load import Base, load_base
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult, run_training


@pytest.fixture(scope="session")
def tiny_base(tiny_base_folder: Path, tiny_settings: Settings) -> Base:
    return load_base(str(tiny_base_folder), cache=tiny_settings.cache)


@pytest.fixture
def tiny_config(tiny_base_folder: Path, tiny_rows: dict[str, Path], tmp_path: Path) -> Callable[..., TrainConfig]:
    """One epoch of intents on the tiny base, with the fields that a test changes."""
    def config(**changes: Any) -> TrainConfig:
        given: dict[str, Any] = {"task": "text-classification", "data": str(tiny_rows["intents3"]), "epochs": 1,
                                 "output": tmp_path / "out", "base": str(tiny_base_folder), "batch_size": 8, "rank": 2,
                                 "max_length": 32, "learning_rate": 2e-2, "dtype": "float32"}
        return TrainConfig(**(given | changes))
    return config


@pytest.fixture
def run_tiny(tiny_config: Callable[..., TrainConfig], tiny_settings: Settings) -> Callable[..., TrainResult]:
    """Train as `tiny_config` says and return the whole result."""
    def run(**changes: Any) -> TrainResult:
        return run_training(tiny_config(**changes), tiny_settings)
    return run
