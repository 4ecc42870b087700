"""One running server over tiny adapters of every task, shared by tests that leave it as it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Running, running

from adapterhub.registry import Registry
from adapterhub.settings import Settings


@pytest.fixture(scope="session")
def served(tiny_base_folder: Path, tiny_settings: Settings, tiny_adapters: dict[str, Path],
           tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over t/intents3 (with alias `live`), t/intents5, t/entities, t/pairs and t/query-only."""
    place = tmp_path_factory.mktemp("served")
    registry = published(place, tiny_adapters)
    registry.promote("t/intents3", "live")
    with running(str(tiny_base_folder), registry, place, tiny_settings) as server:
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
