"""A registry of the tiny adapters with runtimes over it, and what histories and known failures are held to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from history_world import World

from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings


@pytest.fixture
def registry(tiny_adapters: dict[str, Path], tmp_path: Path) -> Registry:
    """Every tiny adapter as `t/<name>`."""
    registry = Registry(tmp_path / "registry")
    for name, folder in tiny_adapters.items():
        registry.publish(folder, f"t/{name}")
    return registry


@pytest.fixture
def runtime_of(tiny_base_folder: Path, tiny_settings: Settings, registry: Registry) -> Callable[..., Runtime]:
    """Build runtimes over that registry: in float32, and waiting for fetches, so that passes do not hang on chance."""
    def build(**options: Any) -> Runtime:
        config = RuntimeConfig(**{"dtype": "float32", "gather_s": 30} | options)
        return Runtime(str(tiny_base_folder), registry, settings=tiny_settings, config=config)
    return build


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_base_folder: Path, tiny_settings: Settings) -> World:
    """Folders of ten kinds, and stock PEFT's word on each."""
    return World(tmp_path_factory.mktemp("world"), tiny_base_folder, tiny_settings)
