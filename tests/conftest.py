"""What many tests share: one tiny base, its settings, and adapters that were really trained on it."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import entity_rows, intent_rows, pair_rows, write_rows, write_tiny_base

from adapterhub.settings import Settings

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of Hugging Face is imported: tests ask no network


LONG_FILES = ("test_readme.py", "test_docs.py", "test_cli_process.py", "test_registry_fire.py")
"""What takes longest begins first, so that no process is left with it alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the long files to the front; the rest keeps its order."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


def pytest_collection_finish() -> None:
    """Leave what was imported out of later collections: the libraries' objects are many, and stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny-base")


@pytest.fixture(scope="session")
def tiny_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    place = tmp_path_factory.mktemp("home")
    return Settings(registry=str(place / "registry"), cache=place / "cache", data=None, shipped_registry=None)


@pytest.fixture(scope="session")
def tiny_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of rows: intents3, intents5, entities, pairs."""
    place = tmp_path_factory.mktemp("rows")
    rows = {"intents3": intent_rows(3), "intents5": intent_rows(5), "entities": entity_rows(), "pairs": pair_rows()}
    return {name: write_rows(place / f"{name}.jsonl", value) for name, value in rows.items()}


@pytest.fixture(scope="session")
def train_tiny(tiny_base_folder: Path, tiny_settings: Settings, tiny_rows: dict[str, Path]) -> Callable[..., Path]:
    """Train one epoch on the tiny base: `train_tiny(output, "text-classification", "intents3", rank=2)`."""
    from adapterhub.making import train
    from adapterhub.training.config import TrainConfig

    def run(output: Path, task: str, rows: str, **changes: Any) -> Path:
        given: dict[str, Any] = {"base": str(tiny_base_folder), "epochs": 1, "batch_size": 8, "max_length": 32,
                                 "learning_rate": 2e-2, "dtype": "float32"}
        config = TrainConfig(task=task, data=str(tiny_rows.get(rows, rows)), output=output, **(given | changes))
        return train(config, tiny_settings)
    return run


@pytest.fixture(scope="session")
def tiny_adapters(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapter folders of every task, of ranks 2 and 8, one with fewer target modules; never to be changed."""
    place = tmp_path_factory.mktemp("adapters")
    return {
        "intents3": train_tiny(place / "intents3", "text-classification", "intents3", rank=8),
        "intents5": train_tiny(place / "intents5", "text-classification", "intents5", rank=2),
        "entities": train_tiny(place / "entities", "token-classification", "entities", rank=2, dtype="float16"),
        "pairs": train_tiny(place / "pairs", "sentence-similarity", "pairs", rank=8),
        "query-only": train_tiny(place / "query-only", "text-classification", "intents3", rank=2, seed=5,
                                 targets=("attention.self.query",)),
    }
