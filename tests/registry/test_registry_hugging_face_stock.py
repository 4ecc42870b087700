"""What others see of a registry on the Hugging Face Hub: stock PEFT by repo and tag, and the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from adapter_folders import write_adapter_folder
from click.testing import CliRunner
from command_line import Cli, Ran
from hub_server import HubServer
from huggingface_hub import constants, hf_api
from stock import stock_model, stock_outputs

from adapterhub.cli.main import main
from adapterhub.registry import Registry

PLACE = "hf://acme"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own upload


@pytest.fixture
def cli(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command with `hf://acme` as the environment's registry and nothing shipped."""
    monkeypatch.setattr("adapterhub.settings._shipped_registry", lambda: None)
    environment = {"ADAPTERHUB_REGISTRY": PLACE, "ADAPTERHUB_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}

    def run(*arguments: object) -> Ran:
        result = CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(exit_code=result.exit_code, out=result.stdout, err=result.stderr)
    return run


def test_stock_peft_loads_a_version_and_an_alias_by_their_tags(
        hub: HubServer, tmp_path: Path, tiny_base_folder: Path, train_tiny: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # what HF_ENDPOINT sets when the client is imported
    monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    from peft import PeftModel

    folders = [train_tiny(tmp_path / str(seed), "text-classification", "intents3", rank=2, seed=seed)
               for seed in (1, 2)]
    registry = Registry(PLACE)
    for folder in folders:
        registry.publish(folder, "support/intents")
    registry.promote("support/intents@1", "production")
    for revision, folder in (("v1", folders[0]), ("v2", folders[1]), ("production", folders[0]), ("main", folders[1])):
        base = stock_model(tiny_base_folder, "text-classification", 3, None)
        model = PeftModel.from_pretrained(base, "acme/support__intents", revision=revision).eval()
        here = stock_model(tiny_base_folder, "text-classification", 3, folder)
        text = "where is my parcel"
        assert torch.equal(stock_outputs(tiny_base_folder, model, text), stock_outputs(tiny_base_folder, here, text))


def test_every_command_of_a_registry_works_on_the_hub(cli: Cli, hub: HubServer, tmp_path: Path) -> None:
    folders = [write_adapter_folder(tmp_path / str(seed), seed=seed) for seed in range(2)]
    first = cli("publish", folders[0], "support/intents", "--alias", "production", "--json")
    assert (first.json["reference"], first.json["registry"], first.err) == ("support/intents@1", PLACE, "")
    assert "Published support/intents@2" in cli("publish", folders[1], "support/intents").out
    assert [line["reference"] for line in cli("list", "--json").json] == ["support/intents@2"]
    assert "A test adapter, seed 0" in cli("show", "support/intents@production").out
    assert cli("pull", "support/intents@1", tmp_path / "pulled").exit_code == 0
    assert (tmp_path / "pulled/README.md").read_bytes() == (folders[0] / "README.md").read_bytes()
    assert [line["is_whole"] for line in cli("verify", "--all", "--json").lines] == [True, True]
    assert "-> version 2" in cli("promote", "support/intents@2", "production").out
    assert "-> version 1" in cli("rollback", "support/intents@production").out
    assert len(cli("history", "support/intents@production").out.splitlines()) == 3
    assert "meant version 1" in cli("at", "support/intents@production", "2999-01-01").out
    assert cli("yank", "support/intents@2", "--reason", "bad").exit_code == 0
    assert [line["reference"] for line in cli("search", "seed", "--json").json] == ["support/intents@1"]
    assert cli("sweep").exit_code == 0


def test_adapters_are_copied_from_the_hub_and_to_it(cli: Cli, tmp_path: Path) -> None:
    Registry(tmp_path / "here").publish(write_adapter_folder(tmp_path / "a"), "support/intents")
    assert cli("copy", "--registry", tmp_path / "here", "--to", PLACE).exit_code == 0
    assert "1 copied, 0 were there" in cli("copy", "support/intents", "--to", tmp_path / "there").out
    assert Registry(tmp_path / "there").verify("support/intents").checks


def test_backup_of_the_hub_becomes_a_folder_but_not_the_hub_again(cli: Cli, tmp_path: Path) -> None:
    cli("publish", write_adapter_folder(tmp_path / "a"), "support/intents")
    assert cli("backup", tmp_path / "backup.tar").exit_code == 0
    assert cli("restore", tmp_path / "backup.tar", "--registry", tmp_path / "there").exit_code == 0
    assert Registry(tmp_path / "there").verify("support/intents").checks
    told = cli("restore", tmp_path / "backup.tar", "--registry", "hf://acme").refusal()
    assert "Restore a backup into a folder, then use `adapterhub copy` from there." in told


def test_fault_is_one_sentence_at_the_command_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN")
    told = cli("publish", write_adapter_folder(tmp_path / "a"), "support/intents").refusal()
    assert told.startswith("hf://acme asks for a token, and none was found.")
