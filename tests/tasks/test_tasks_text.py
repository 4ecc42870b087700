"""text-classification: labels there and back, figures by hand, bad rows refused."""

import math
from typing import Any

import pytest
import torch
from tiny import tiny_tokenizer

from adapterhub.errors import DataError, PredictionError, UnknownName
from adapterhub.tasks.table import TASKS, find_task
from adapterhub.tasks.task import Example
from adapterhub.tasks.text_classification import TextClassification

TASK = TextClassification()
LABELS = ["card", "loan", "oos"]


def examples_of(*labels: str) -> list[Example]:
    return TASK.encode([{"text": "my card", "label": label} for label in labels], tiny_tokenizer(), LABELS, 16)


def logits_for(*chosen: int) -> list[list[torch.Tensor]]:
    return [[torch.nn.functional.one_hot(torch.tensor(i), len(LABELS)).float()] for i in chosen]


@pytest.mark.parametrize("label", LABELS)
def test_right_logits_decode_to_the_label_that_was_encoded(label: str) -> None:
    example = examples_of(label)[0]
    assert TASK.decode(logits_for(example.target)[0], example, LABELS)["label"] == label


def test_decode_gives_the_best_three_with_their_probabilities() -> None:
    answer = TASK.decode([torch.tensor([0.0, 2.0, 1.0, -1.0])], Example(sequences=[]), ["a", "b", "c", "d"])
    assert [entry["label"] for entry in answer["top"]] == ["b", "c", "a"]
    total = sum(math.exp(x) for x in (0, 2, 1, -1))
    assert answer["score"] == pytest.approx(math.exp(2) / total)
    assert answer["label"] == "b"


def test_two_labels_decode_to_two_scores() -> None:
    assert len(TASK.decode([torch.zeros(2)], Example(sequences=[]), ["a", "b"])["top"]) == 2


def test_second_text_of_a_pair_has_type_one() -> None:
    example = TASK.encode([{"text": "my card", "text_pair": "the loan"}], tiny_tokenizer(), LABELS, 16)[0]
    assert example.sequences[0].token_type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert example.target is None


@pytest.mark.parametrize(("n_words", "is_truncated"), [(5, False), (6, False), (7, True)])
def test_text_counts_as_cut_only_where_words_were_lost(n_words: int, is_truncated: bool) -> None:
    example = TASK.encode([{"text": " ".join(["card"] * n_words)}], tiny_tokenizer(), LABELS, 8)[0]
    assert example.is_truncated is is_truncated
    assert len(example.sequences[0].input_ids) == min(n_words + 2, 8)


def test_label_unseen_in_training_is_refused_by_its_name() -> None:
    with pytest.raises(DataError, match=r"\['travel'\] are not among the adapter's 3 labels.*card, loan, oos"):
        examples_of("card", "travel")


@pytest.mark.parametrize(("rows", "reason"), [([{"label": "a"}] * 3, "All 3 training rows have the label 'a'"),
                                              ([], "no training rows")])
def test_one_class_is_no_task(rows: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        TASK.labels_of(rows)


def test_labels_are_sorted() -> None:
    assert TASK.labels_of([{"label": "b"}, {"label": "a"}, {"label": "b"}]) == ["a", "b"]


def test_no_rows_encode_to_no_examples() -> None:
    assert TASK.encode([], tiny_tokenizer(), LABELS, 16) == []


def test_loss_is_the_mean_negative_log_probability() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    expected = -(logits.log_softmax(dim=-1)[0, 0] + logits.log_softmax(dim=-1)[1, 2]) / 2
    assert float(TASK.loss([logits], examples_of("card", "oos"))) == pytest.approx(float(expected))


def test_figures_are_those_computed_by_hand() -> None:
    # card 2 of 3 right, one card called loan; loan 1 of 1 right; oos 1 of 2 right, the other called loan
    truth, predicted = ("card", "card", "card", "loan", "oos", "oos"), (0, 0, 1, 1, 2, 1)
    evaluation = TASK.evaluate(logits_for(*predicted), examples_of(*truth), LABELS)
    card, loan, oos = 2 * (1 * 2 / 3) / (1 + 2 / 3), 2 * (1 / 3) / (1 / 3 + 1), 2 * 0.5 / 1.5
    assert evaluation.metrics == pytest.approx({
        "accuracy": 4 / 6, "macro_f1": (card + loan + oos) / 3, "in_scope_accuracy": 3 / 4, "out_of_scope_recall": 0.5})
    report = {line.label: (line.precision, line.recall, line.support) for line in evaluation.reports["per class"]}
    assert report == {"card": pytest.approx((1, 2 / 3, 3)), "loan": pytest.approx((1 / 3, 1, 1)),
                      "oos": pytest.approx((1, 0.5, 2))}
    assert evaluation.n_rows == 6


def test_macro_f1_leaves_out_classes_that_do_not_occur() -> None:
    evaluation = TASK.evaluate(logits_for(0, 1), examples_of("card", "loan"), LABELS)
    assert evaluation.metrics == {"accuracy": 1.0, "macro_f1": 1.0}


@pytest.mark.parametrize(("row", "expected"), [
    ("a text", {"text": "a text"}),
    (("one", "two"), {"text": "one", "text_pair": "two"}),
    ({"text": "one", "id": 7}, {"text": "one"}),
    ({"text": "one", "text_pair": "two"}, {"text": "one", "text_pair": "two"}),
])
def test_row_to_predict_is_a_text_a_pair_or_a_mapping(row: Any, expected: dict[str, str]) -> None:
    assert TASK.parse_row(row) == expected


@pytest.mark.parametrize("row", ["", "  \n", 3, None, {}, {"text": ""}, {"text": 5}, {"text": None}, ["a", "b", "c"],
                                 {"text": "a", "text_pair": " "}, {"words": "a"}, ("a", 3)])
def test_unusable_row_is_refused(row: Any) -> None:
    with pytest.raises(PredictionError, match="A row for text-classification"):
        TASK.parse_row(row)


def test_unknown_task_lists_those_there_are() -> None:
    with pytest.raises(UnknownName, match=r"sentence-similarity.*Did you mean text-classification") as caught:
        find_task("text-clasification")
    assert caught.value.known == sorted(TASKS)
