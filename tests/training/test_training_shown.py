"""What a run shows when it has ended: intervals in manifest and card, the learning curve, and the command."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest

from adapterhub.adapter.folder import read_folder
from adapterhub.adapter.manifest import parse_manifest
from adapterhub.cli.main import main
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult
from adapterhub.training.shown import command_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base_folder: Path, tiny_rows: dict[str, Path],
            tiny_settings: object) -> TrainResult:
    from adapterhub.training.run import run_training

    config = TrainConfig(task="text-classification", data=str(tiny_rows["intents5"]), base=str(tiny_base_folder),
                         rank=2, output=tmp_path_factory.mktemp("shown") / "out", epochs=3, batch_size=8, max_length=32,
                         learning_rate=2e-2, name="five intents")
    return run_training(config, tiny_settings)  # type: ignore[arg-type]


def test_manifest_and_card_tell_the_interval_of_each_test_figure(trained: TrainResult) -> None:
    assert trained.folder is not None
    folder = read_folder(trained.folder)
    own = {metric.name: metric for metric in folder.manifest.metrics if metric.split == "test"}
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    for name, metric in own.items():
        assert metric.interval == trained.findings.intervals[name]
        assert metric.interval[0] <= metric.value <= metric.interval[1]
        assert f"| {metric.value:.4f} | {metric.interval[0]:.4f} to {metric.interval[1]:.4f} |" in card
    validation = next(metric for metric in folder.manifest.metrics if metric.split == "validation")
    assert validation.interval is None


def test_card_tells_mistakes_calibration_and_epochs_but_no_text_of_a_row(trained: TrainResult) -> None:
    assert trained.folder is not None
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    for title in ("## Test rows, per class", "## Test rows: calibration", "## Learning curve", "(kept)"):
        assert title in card
    assert trained.findings.worst, "an adapter that makes no mistake proves nothing"
    assert not any(row.text in card for row in trained.findings.worst)


def test_curve_has_every_epoch_with_its_loss_and_its_validation_figure(trained: TrainResult) -> None:
    epochs = trained.curve.epochs
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert [epoch.loss for epoch in epochs] == trained.outcome.losses
    values = [epoch.value for epoch in epochs]
    assert values[trained.curve.best_epoch - 1] == trained.outcome.best_value


def test_manifest_without_intervals_keeps_the_bytes_that_it_had(trained: TrainResult) -> None:
    assert trained.folder is not None
    manifest = read_folder(trained.folder).manifest
    without = replace(manifest, metrics=[replace(metric, interval=None) for metric in manifest.metrics])
    assert b"interval" not in without.to_bytes()
    for own in (manifest, without):
        assert parse_manifest(own.to_bytes(), "a folder") == own


def test_card_tells_a_command_that_the_command_line_knows(tiny_config: Callable[..., TrainConfig]) -> None:
    config = tiny_config(columns={"text": "body"}, targets=("query", "value"), gradient_checkpointing=True,
                         data="/a/place/rows.csv", learning_rate=3e-4, base="/a/place/tiny-base")
    words = shlex.split(command_of(config, "rows"))
    assert words[:4] == ["adapterhub", "train", "--task", "text-classification"]
    assert not any("/" in word for word in words), "places of this machine are nobody's business"
    train = main.commands["train"]
    params = click.Command("train", params=train.params).make_parser(click.Context(train)).parse_args(words[2:])[0]
    assert (params["columns"], params["targets"], params["learning_rate"]) == (["text=body"], "query,value", "0.0003")
    assert words[words.index("--base") + 1] == "tiny-base"


def test_run_without_test_rows_has_no_figures_and_no_tables(run_tiny: Callable[..., TrainResult]) -> None:
    result = run_tiny(fractions=(0.8, 0.2, 0.0))
    assert (result.findings.intervals, result.findings.worst) == ({}, [])
    assert result.folder is not None
    assert "per class" not in (result.folder / "README.md").read_text(encoding="utf-8")
