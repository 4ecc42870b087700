"""Searches on the tiny base."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterhub.searching.search import Budget, SearchResult, search
from adapterhub.searching.space import Space, parse_space
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig


@pytest.fixture(scope="session")
def space() -> Space:
    return parse_space(["learning_rate=1e-3:1e-1:log", "rank=2|4"], {})


@pytest.fixture(scope="session")
def tiny_search(tiny_base_folder: Path, tiny_settings: Settings, tiny_rows: dict[str, Path],
                space: Space) -> Callable[..., SearchResult]:
    """Search on five intents for two epochs a trial: `tiny_search(output, n_trials=3)`."""
    def run(output: Path, n_trials: int, *, minutes: float | None = None, given: Space = space,
            tell: Callable[[Any], None] = lambda trials: None, pruner: str = "none", **changes: Any) -> SearchResult:
        settings = {"task": "text-classification", "data": str(tiny_rows["intents5"]), "base": str(tiny_base_folder),
                    "epochs": 2, "batch_size": 8, "max_length": 32}
        config = TrainConfig(output=output, **(settings | changes))
        return search(config, given, Budget(n_trials=n_trials, minutes=minutes), tiny_settings, tell=tell,
                      pruner=pruner)
    return run


@pytest.fixture(scope="session")
def searched(tiny_search: Callable[..., SearchResult], tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """Four trials and the best of them trained."""
    return tiny_search(tmp_path_factory.mktemp("searched") / "out", 4)
