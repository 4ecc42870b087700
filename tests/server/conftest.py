"""One running server over tiny adapters of every task, shared by tests that leave it as it is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_server import Running, running
from tiny import answer_rows, write_rows

from adapterhub.registry import Registry
from adapterhub.server.config import FeedbackConfig, ServerConfig
from adapterhub.settings import Settings


@pytest.fixture(scope="session")
def served(tiny_base_folder: Path, tiny_settings: Settings, tiny_adapters: dict[str, Path],
           train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over t/intents3 (with alias `live`), t/intents5, t/entities, t/pairs, t/query-only.

    And t/finder, trained until it finds entities, and t/answers for questions.
    """
    place = tmp_path_factory.mktemp("served")
    finder = train_tiny(place / "finder", "token-classification", "entities", rank=8, epochs=6)
    rows = write_rows(place / "questions.jsonl", answer_rows(24))
    answers = train_tiny(place / "answers", "question-answering", str(rows), rank=2)
    registry = published(place, {**tiny_adapters, "finder": finder, "answers": answers})
    registry.promote("t/intents3", "live")
    config = ServerConfig(port=0, feedback=FeedbackConfig(place=str(place / "feedback.sqlite3")))
    with running(str(tiny_base_folder), registry, place, tiny_settings, config=config) as server:
        yield server


def published(place: Path, adapters: dict[str, Path]) -> Registry:
    """Return a new registry with these adapters below `t/`."""
    registry = Registry(place / "registry")
    for name, folder in adapters.items():
        registry.publish(folder, f"t/{name}")
    return registry


@pytest.fixture
def registry(tiny_adapters: dict[str, Path], tmp_path: Path) -> Registry:
    """A registry of the test's own, with every tiny adapter."""
    return published(tmp_path, tiny_adapters)
