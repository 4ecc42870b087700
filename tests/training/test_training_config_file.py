"""Settings written in TOML or JSON are those of a TrainConfig, each fault told in one sentence."""

import math
from pathlib import Path
from typing import Any

import pytest
from adapter_folders import names_in
from readme_tables import ROOT

from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.training.config import TrainConfig
from adapterhub.training.config_file import config_to_plain, parse_config, read_config

NEEDED: dict[str, Any] = {"task": "text-classification", "data": "rows.csv", "output": "out"}


@pytest.mark.parametrize("fields", [
    {}, {"checkpoint_seconds": math.inf},
    {"targets": ("query", "value"), "columns": {"text": "body"}, "continue_from": Path("a/b")},
    {"alpha": 16, "fractions": (0.5, 0.25, 0.25), "is_validated": False, "epochs": 3, "learning_rate": 1e-3}])
def test_settings_come_back_from_plain_values_as_they_were(fields: dict[str, Any]) -> None:
    config = TrainConfig(**{"task": "text-classification", "data": "rows.csv", "output": Path("out")} | fields)
    assert parse_config(config_to_plain(config)) == config


def test_toml_gives_the_settings(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('task = "token-classification"\ndata = "rows.csv"\noutput = "out/a"\nalpha = 4\n'
                                       'targets = ["query", "key"]\nfractions = [0.8, 0.1, 0.1]\n'
                                       '[columns]\ntext = "body"\n', encoding="utf-8")
    assert parse_config(read_config(tmp_path / "run.toml")) == TrainConfig(
        task="token-classification", data="rows.csv", output=Path("out/a"), alpha=4.0, targets=("query", "key"),
        fractions=(0.8, 0.1, 0.1), columns={"text": "body"})


@pytest.mark.parametrize(("content", "told"), [
    (b"task = ", "is no TOML: Invalid value"), (b"\xff\xfe", "is no TOML: 'utf-8' codec can't decode"),
    (b"task = 1\ntask = 2", "is no TOML: Cannot overwrite a value"), (b" " * (2 << 20), "has 2,097,152 bytes")])
def test_file_that_is_no_toml_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(InvalidConfig, match=told):
        read_config(tmp_path / "run.toml")


def test_file_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="No such file of settings"):
        read_config(tmp_path / "run.toml")
    assert names_in(tmp_path) == []


def test_unknown_setting_is_told_with_its_near_misses() -> None:
    with pytest.raises(UnknownName, match=r"Unknown setting 'learning-rate'.* Did you mean learning_rate"):
        parse_config(NEEDED | {"learning-rate": 1e-3})


@pytest.mark.parametrize(("given", "told"), [
    ({}, "A run needs task and data and output, and nothing says them. Give --task and --data and --output"),
    ({"task": "text-classification", "data": "a.csv"}, "A run needs output, and nothing says it. Give --output")])
def test_missing_settings_are_told_together(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        parse_config(given)


@pytest.mark.parametrize(("field", "value", "told"), [
    ("rank", "eight", 'rank is "eight", expected a valid integer'),
    ("rank", 8.5, "rank is 8.5, expected a valid integer"),
    ("epochs", True, "epochs is true, expected a valid integer"),
    ("learning_rate", "fast", 'learning_rate is "fast", expected a valid number'),
    ("is_validated", "no", 'is_validated is "no", expected a valid boolean'),
    ("targets", 3, "targets is 3, expected a valid string or a valid array"),
    ("columns", {"text": 3}, r"columns is {\"text\": 3}, expected a valid string"),
    ("fractions", [0.5, "half", 0.1], "fractions is .*, expected a valid number"),
    ("output", 7, "output is 7, expected a valid string")])
def test_value_of_a_wrong_type_is_told_with_the_right_one(field: str, value: object, told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        parse_config(NEEDED | {field: value})


def test_value_out_of_its_range_is_told_as_everywhere() -> None:
    with pytest.raises(InvalidConfig, match="rank is 0, expected 1 to 256"):
        parse_config(NEEDED | {"rank": 0})


def test_date_is_no_setting(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("name = 2026-11-24\n")
    with pytest.raises(InvalidConfig, match="2026-11-24 is a date, which no setting takes"):
        parse_config(NEEDED | read_config(tmp_path / "run.toml"))


def test_sample_in_the_readme_is_a_run(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "run.toml").write_text(readme.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    config = parse_config(read_config(tmp_path / "run.toml"))
    assert (config.rank, config.columns) == (16, {"text": "body"})
