"""The command line in this process, in an environment of its own: `cli("list", "--json")`."""

from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from click.testing import CliRunner
from command_line import Cli, Ran

from adapterhub.cli.main import main
from adapterhub.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the environment's registry lies: `home / "registry"`; not made before something is published."""
    return tmp_path / "home"


@pytest.fixture
def cli(home: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command; the registry is the test's own, the cache is shared, nothing is shipped."""
    monkeypatch.setattr("adapterhub.settings._shipped_registry", lambda: None)
    environment = {"ADAPTERHUB_REGISTRY": str(home / "registry"), "ADAPTERHUB_CACHE": str(tiny_settings.cache),
                   "COLUMNS": "200"}

    def run(*arguments: object, text: str | bytes | None = None) -> Ran:
        result = CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments], input=text)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(exit_code=result.exit_code, out=result.stdout, err=result.stderr)
    return run


@pytest.fixture
def published(cli: Cli, tmp_path: Path) -> Cli:
    """The same, over a registry with three adapters that need no base: support/intents 1 and 2, news/topics 1."""
    for name, folder in (("support/intents", write_adapter_folder(tmp_path / "first", seed=1)),
                         ("support/intents", write_adapter_folder(tmp_path / "second", seed=2)),
                         ("news/topics", write_adapter_folder(tmp_path / "third", seed=3, labels=("sport", "rest")))):
        assert cli("publish", folder, name).exit_code == 0
    return cli
