"""The settings of `train` and `search-hyperparameters`: options are fields, and a file says what is not given."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from command_line import Cli

from adapterhub.adapter.folder import read_folder
from adapterhub.cli.main import main
from adapterhub.training.config import TrainConfig


def settings_of(command: str) -> list[click.Option]:
    return [parameter for parameter in main.commands[command].params
            if isinstance(parameter, click.Option) and not parameter.expose_value and not parameter.is_eager]


SETTINGS, SEARCHED = settings_of("train"), settings_of("search-hyperparameters")


def toml_of(**settings: Any) -> str:
    return "".join(f"{name} = {value!r}\n" for name, value in settings.items())


def test_every_setting_is_a_field() -> None:
    names = {parameter.name for parameter in SETTINGS}
    assert names <= {field.name for field in fields(TrainConfig)}
    assert {"task", "data", "output", "columns", "learning_rate"} <= names


def test_settings_of_a_search_are_those_of_train() -> None:
    of_train = {option.name: (option.opts, option.type.name) for option in SETTINGS}
    assert {"task", "data", "output", "columns", "targets", "source"} <= {option.name for option in SEARCHED}
    assert all((option.opts, option.type.name) == of_train[option.name] for option in SEARCHED)


@pytest.mark.parametrize("option", [*SETTINGS, *SEARCHED], ids=lambda option: str(option.name))
def test_default_that_the_help_tells_is_the_fields_own(option: click.Option) -> None:
    default = next(field.default for field in fields(TrainConfig) if field.name == option.name)
    told = re.search(r"\[default: ([\w.-]+)]", option.help or "")
    if told and default is not None:  # where it is None, the help tells what is done
        assert type(default)(told[1]) == default


def test_run_comes_from_a_file_and_options_win(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path],
                                               tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(toml_of(task="text-classification", data=str(tiny_rows["intents3"]), rank=4, epochs=1, seed=7,
                              output=str(tmp_path / "a"), base=str(tiny_base_folder), max_length=32))
    ran = cli("train", "--config", config, "--rank", 2, "--output", tmp_path / "b")
    assert ran.exit_code == 0, ran.err
    manifest = read_folder(tmp_path / "b").manifest
    assert (manifest.method.rank, manifest.training.seed) == (2, 7)
    assert not (tmp_path / "a").exists()


def test_columns_of_file_and_options_are_taken_together(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("body,kind\nhi,a\n")
    (tmp_path / "run.toml").write_text('task = "text-classification"\n[columns]\ntext = "body"\n')
    sentence = cli("train", "--config", tmp_path / "run.toml", "--data", tmp_path / "rows.csv", "--output",
                   tmp_path / "out", "--column", "label=sort").refusal()
    assert "sort" in sentence
    assert "kind" in sentence


@pytest.mark.parametrize(("content", "told"), [
    ("rnak = 4", "Unknown setting 'rnak'; known: "),
    ('task = "a"\ndata = "b"\noutput = "c"\nrank = "four"', 'rank is "four", expected a valid integer'),
    ("rank = ", "is no TOML"), ("rank = 4", "A run needs task and data and output")])
def test_file_at_fault_is_refused(content: str, told: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(content)
    assert told in cli("train", "--config", tmp_path / "run.toml").refusal()


def test_file_that_is_absent_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert "No such file of settings" in cli("train", "--config", tmp_path / "run.toml").refusal()


def test_method_options_are_read_as_toml_and_else_as_text(cli: Cli, tiny_base_folder: Path, tiny_rows: dict[str, Path],
                                                          tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('task = "text-classification"\nepochs = 1\nmax_length = 32\n'
                                       "[method_options]\nuse_dora = true\nlora_bias = true\n")
    ran = cli("train", "--config", tmp_path / "run.toml", "--data", tiny_rows["intents3"], "--output", tmp_path / "a",
              "--base", tiny_base_folder, "--method-option", "lora_bias=false", "--method-option",
              "init_lora_weights=orthogonal", "--method-option", "layers_to_transform=[1]")
    assert ran.exit_code == 0, ran.err
    told = read_folder(tmp_path / "a").manifest.training.hyperparameters
    assert {name: value for name, value in told.items() if name.startswith("method_options.")} == {
        "method_options.use_dora": True, "method_options.lora_bias": False,
        "method_options.init_lora_weights": "orthogonal", "method_options.layers_to_transform": "[1]"}


@pytest.mark.parametrize(("option", "told"), [
    ("use_dora", "--method-option 'use_dora' is not NAME=VALUE"), ("use_dorra=true", "Did you mean use_dora")])
def test_method_option_at_fault_is_refused(option: str, told: str, cli: Cli, tiny_rows: dict[str, Path],
                                           tmp_path: Path) -> None:
    assert told in cli("train", "--task", "text-classification", "--data", tiny_rows["intents3"], "--output",
                       tmp_path / "out", "--method-option", option).refusal()
