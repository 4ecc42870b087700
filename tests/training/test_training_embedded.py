"""The embedded base learns from the rows that ship with the package, and stock clients get the same answers."""

import csv
from importlib.resources import as_file, files
from pathlib import Path

import pytest
import torch
from stock import stock_model, stock_outputs
from tiny import write_rows

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import read_folder
from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.bases.embedded import embedded_folder
from adapterhub.bases.load import load_base
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example, TokenSequence
from adapterhub.training.config import TrainConfig
from adapterhub.training.evaluate import compute_outputs
from adapterhub.training.methods import build_model
from adapterhub.training.run import TrainResult, run_training

LABELS = ("card_lost", "invoice_request", "order_status", "speak_to_human")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> TrainResult:
    """Four of the example intents, 24 rows each, four epochs."""
    place = tmp_path_factory.mktemp("embedded")
    with as_file(files("adapterhub.examples") / "intents.csv") as path, path.open(encoding="utf-8") as file:
        given = list(csv.DictReader(file))
    rows = [row for label in LABELS for row in [row for row in given if row["label"] == label][:24]]
    data = write_rows(place / "intents.csv", rows)
    config = TrainConfig(task="text-classification", data=str(data), output=place / "out", epochs=4, max_length=48)
    return run_training(config, tiny_settings)


def test_few_example_rows_are_learned_far_above_chance(trained: TrainResult) -> None:
    assert trained.evaluation.n_rows == 12
    assert trained.evaluation.metrics["accuracy"] > 0.7  # chance is 0.25


def test_folder_fits_the_embedded_base_and_names_it_for_the_hub(trained: TrainResult, tiny_settings: Settings) -> None:
    assert trained.folder
    folder = read_folder(trained.folder)
    check_folder(folder, load_base("embedded", cache=tiny_settings.cache).shapes)
    assert b'"sentence-transformers/all-MiniLM-L6-v2"' in folder.files["adapter_config.json"]
    assert folder.manifest.base.id == "embedded"
    assert len(folder.files[WEIGHTS_FILE]) < 1_600_000


@pytest.mark.parametrize("text", ["i lost my card on the train", "where is my parcel? ordered last week", "human!"])
def test_stock_peft_gives_the_trainers_answers(text: str, trained: TrainResult, tiny_settings: Settings) -> None:
    assert trained.folder
    theirs = stock_outputs(embedded_folder(), stock_model(embedded_folder(), "text-classification", len(LABELS),
                                                          trained.folder), text)
    base, task = load_base("embedded", cache=tiny_settings.cache), find_task("text-classification")
    config = TrainConfig(task=task.name, data="", output=Path(), continue_from=trained.folder)
    ours = build_model(config, base, task, list(LABELS))
    ours.put(trained.outcome.state if read_folder(trained.folder).manifest.method.dtype == "float32" else
             {name: value.half().float() for name, value in trained.outcome.state.items()})
    ids = base.tokenizer(text)["input_ids"]
    example = Example(sequences=[TokenSequence(input_ids=ids, token_type_ids=[0] * len(ids))])
    assert torch.allclose(compute_outputs(ours.model, task, [example], 0)[0][0], theirs, atol=1e-5)
