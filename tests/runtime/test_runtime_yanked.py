"""Rows for a yanked version fail alone, whichever way they name it but by its digest."""

from pathlib import Path

import pytest

from adapterhub.errors import VersionYanked
from adapterhub.registry import Registry
from adapterhub.runtime.answer import Answer, Failure
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from adapterhub.settings import Settings


@pytest.fixture
def registry(tiny_adapters: dict[str, Path], tmp_path: Path) -> Registry:
    """t/intents@1 is good; t/intents@2, which production means, is yanked while it serves."""
    registry = Registry(tmp_path / "registry")
    for name in ("intents3", "intents5"):
        registry.publish(tiny_adapters[name], "t/intents")
    registry.promote("t/intents@2", "production")
    return registry


@pytest.fixture
def runtime(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings) -> Runtime:
    return Runtime(str(tiny_base_folder), registry, settings=tiny_settings, config=RuntimeConfig(dtype="float32"))


def test_version_yanked_while_it_serves_fails_its_rows_alone(registry: Registry, runtime: Runtime) -> None:
    digest = runtime.predict([("t/intents@production", "my card")])[0].digest
    registry.yank("t/intents@2", "labels were swapped")
    by_alias, by_number, latest, exact = runtime.answer([
        ("t/intents@production", "my card"), ("t/intents@2", "my card"), ("t/intents", "my card"),
        (f"t/intents@sha256:{digest}", "my card")])
    for failure in (by_alias, by_number):
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, VersionYanked)
        assert "t/intents@2" in str(failure.error)
        assert f"@sha256:{digest}" in failure.error.hint
    assert isinstance(latest, Answer)
    assert isinstance(exact, Answer)
    assert (latest.version, exact.digest) == ("t/intents@1", digest)


def test_yanked_version_is_not_loaded_ahead(registry: Registry, runtime: Runtime) -> None:
    registry.yank("t/intents@2", "labels were swapped")
    for act in (runtime.load, runtime.pin):
        with pytest.raises(VersionYanked, match="which t/intents@production means, is yanked"):
            act("t/intents@production")
