"""Several labels for a text, or a number: losses as stock transformers computes them, figures by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from tiny import tiny_tokenizer, write_rows
from transformers import AutoModelForSequenceClassification

from adapterhub.data.columns import Columns
from adapterhub.data.read import read_rows
from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.multi_label_classification import MultiLabelClassification
from adapterhub.tasks.task import Example
from adapterhub.tasks.text_regression import TextRegression

MANY, NUMBER = MultiLabelClassification(), TextRegression()
LABELS = ["card", "loan", "trip"]


def labelled(*labels: list[str]) -> list[Example]:
    return MANY.encode([{"text": "my card", "labels": own} for own in labels], tiny_tokenizer(), LABELS, 16)


def scored(*scores: float) -> list[Example]:
    return NUMBER.encode([{"text": "my card", "score": score} for score in scores], tiny_tokenizer(), ["score"], 16)


@pytest.mark.parametrize(("task", "problem_type", "n_labels", "examples"), [
    (MANY, "multi_label_classification", 3, labelled(["card"], [], ["loan", "trip"])),
    (NUMBER, "regression", 1, scored(0.5, -2, 3)),
])
def test_loss_equals_that_of_stock_transformers(task: Any, problem_type: str, n_labels: int, examples: list[Example],
                                                tiny_base_folder: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_base_folder, num_labels=n_labels,
                                                               problem_type=problem_type).eval()
    ids = torch.tensor([example.sequences[0].input_ids for example in examples])
    targets = torch.tensor([example.target for example in examples])
    with torch.inference_mode():
        output = model(input_ids=ids, labels=targets)
    own = task.loss([task.outputs(output, {})], examples)
    assert float(own) == pytest.approx(float(output.loss), rel=1e-6)


def test_labels_hold_from_one_half_on_and_come_best_first() -> None:
    answer = MANY.decode([torch.tensor([0.1, -3.0, 2.0])], Example(sequences=[]), LABELS)
    assert answer["labels"] == ["trip", "card"]
    assert [line["label"] for line in answer["top"]] == ["trip", "card", "loan"]
    assert answer["top"][0]["score"] == pytest.approx(1 / (1 + math.exp(-2)))
    assert MANY.decode([torch.full((3,), -1.0)], Example(sequences=[]), LABELS)["labels"] == []


def test_figures_of_several_labels_are_those_computed_by_hand() -> None:
    examples = labelled(["card"], [], ["loan", "trip"], ["card", "loan"])
    said = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 1, 0]]  # one label too many, one missed
    evaluation = MANY.evaluate([[torch.tensor(row) * 4.0 - 2] for row in said], examples, LABELS)
    loan = 2 * (2 / 3) / (2 / 3 + 1)
    assert evaluation.metrics == pytest.approx({"micro_f1": 2 * 4 / (5 + 5), "macro_f1": (1 + loan + 0) / 3,
                                                "exact_match": 0.5})
    lines = {line.label: (line.precision, line.recall, line.support) for line in evaluation.reports["per label"]}
    assert lines == {"card": (1, 1, 2), "loan": (pytest.approx(2 / 3), 1, 2), "trip": (0, 0, 1)}


def test_label_unseen_in_training_is_refused_among_several() -> None:
    with pytest.raises(DataError, match=r"\['food'\] are not among the adapter's 3 labels"):
        labelled(["card", "food"])


def test_rows_without_any_label_are_no_task() -> None:
    assert MANY.labels_of([{"labels": ["b"]}, {"labels": []}, {"labels": ["a", "b"]}]) == ["a", "b"]
    with pytest.raises(DataError, match="No training row has a label"):
        MANY.labels_of([{"labels": []}])


@pytest.mark.parametrize(("value", "expected"), [(["a", "b c"], ["a", "b c"]), ([], []), ('["a", "b c"]', ["a", "b c"]),
                                                 ("a | b c", ["a", "b c"]), ("a,b;c", ["a", "b", "c"]), ([3], ["3"])])
def test_labels_are_read_from_lists_and_from_texts(value: Any, expected: list[str], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "one", "labels": value}])
    assert read_rows(path, columns=MANY.columns, given={})[0]["labels"] == expected


@pytest.mark.parametrize(("row", "reason"), [({"labels": None}, "has no labels"), ({"labels": 7}, "has no labels"),
                                             ({"labels": ["a", ""]}, "has an empty label")])
def test_labels_that_cannot_be_read_are_told(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "one", **row}])
    with pytest.raises(DataError, match=f"row 1 {reason}"):
        read_rows(path, columns=MANY.columns, given={})


def test_number_is_the_heads_one_output() -> None:
    assert NUMBER.decode([torch.tensor([2.5])], Example(sequences=[]), ["score"]) == {"score": 2.5}


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_numbers_equal_the_slow_twin(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=9).round(3).tolist()
    said = (np.array(truth) + generator.normal(size=9)).astype("float32")
    metrics = NUMBER.evaluate([[torch.tensor([value])] for value in said], scored(*truth), ["score"]).metrics
    error = said.astype("float64") - truth
    assert metrics == pytest.approx({
        "spearman": np.corrcoef(rankdata(said), rankdata(truth))[0, 1], "pearson": np.corrcoef(said, truth)[0, 1],
        "r2": 1 - (error ** 2).sum() / ((truth - np.mean(truth)) ** 2).sum(), "rmse": (error ** 2).mean() ** 0.5,
        "mae": np.abs(error).mean()}, abs=1e-6)


def test_same_number_for_every_text_correlates_with_nothing() -> None:
    metrics = NUMBER.evaluate([[torch.tensor([1.0])]] * 3, scored(1, 2, 3), ["score"]).metrics
    assert (metrics["spearman"], metrics["pearson"]) == (0, 0)


@pytest.mark.parametrize("rows", [[], [{"score": 2.0}, {"score": 2.0}]])
def test_rows_of_one_number_are_no_task(rows: list[dict[str, float]]) -> None:
    with pytest.raises(DataError, match=r"no training rows|All 2 training rows have the score 2"):
        NUMBER.labels_of(rows)


@pytest.mark.parametrize("task", [MANY, NUMBER], ids=lambda task: task.name)
def test_row_to_predict_is_a_text_or_a_pair(task: Any) -> None:
    assert task.parse_row(("one", "two")) == {"text": "one", "text_pair": "two"}
    with pytest.raises(PredictionError, match=f"A row for {task.name}"):
        task.parse_row({"body": "one"})


def test_column_of_numbers_is_found_as_rating(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", [{"text": "one", "rating": "4.5"}])
    assert read_rows(path, columns=Columns(required=("text", "score")), given={}) == [{"text": "one", "score": 4.5}]
