"""token-classification: words to subwords and back, entities by seqeval against figures by hand."""

import json
from importlib.resources import files
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_tokenizer

from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.task import IGNORED, Example
from adapterhub.tasks.token_classification import TokenClassification

TASK = TokenClassification()
TOKENIZER = tiny_tokenizer()
LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
Row = dict[str, Any]

words = st.text(alphabet="abcdefghij0123456789", min_size=1, max_size=6)
rows = st.lists(st.tuples(words, st.sampled_from(LABELS)), min_size=1, max_size=8).map(
    lambda pairs: {"tokens": [word for word, _ in pairs], "tags": [tag for _, tag in pairs]})


def encode(row: Row, max_length: int = 128) -> Example:
    return TASK.encode([row], TOKENIZER, LABELS, max_length)[0]


def logits_of(example: Example, tags: list[str]) -> torch.Tensor:
    """Logits that say `tags` at each word's first subword, and something else everywhere else."""
    logits = torch.zeros(len(example.sequences[0].input_ids), len(LABELS))
    logits[:, LABELS.index("I-PER")] = 5.0
    for word, tag in enumerate(tags):
        if word in example.sequences[0].word_of_token:
            first = example.sequences[0].word_of_token.index(word)
            logits[first] = torch.nn.functional.one_hot(torch.tensor(LABELS.index(tag)), len(LABELS)) * 5.0
    return logits


def spans(tags: list[str]) -> list[tuple[str, int, int]]:
    """The slow twin: entities of a tag sequence, (type, first word, last word)."""
    found: list[list[Any]] = []
    for i, tag in enumerate(tags):
        if tag.startswith("I-") and found and found[-1][0] == tag[2:] and found[-1][2] == i - 1:
            found[-1][2] = i
        elif tag != "O":
            found.append([tag[2:], i, i])
    return [tuple(span) for span in found]


@given(row=rows)
@settings(max_examples=60, deadline=None)
def test_tags_go_to_subwords_and_come_back(row: Row) -> None:
    example = encode(row)
    evaluation = TASK.evaluate([[logits_of(example, row["tags"])]], [example], LABELS)
    assert evaluation.metrics["token_accuracy"] == 1.0
    answer = TASK.decode([logits_of(example, row["tags"])], example, LABELS)
    assert [(e["entity"], e["first_word"], e["last_word"]) for e in answer["entities"]] == spans(row["tags"])


@given(row=rows)
@settings(max_examples=60, deadline=None)
def test_targets_stand_at_first_subwords_only(row: Row) -> None:
    example = encode(row)
    kept = [(word, target) for word, target in zip(example.sequences[0].word_of_token, example.target, strict=True)
            if target != IGNORED]
    assert kept == [(i, LABELS.index(tag)) for i, tag in enumerate(row["tags"])]


def test_word_that_was_cut_off_counts_as_outside() -> None:
    row = {"tokens": ["anna", "is", "new", "rome"], "tags": ["B-PER", "O", "O", "B-LOC"]}
    example = encode(row, max_length=5)
    evaluation = TASK.evaluate([[logits_of(example, row["tags"])]], [example], LABELS)
    assert example.is_truncated
    assert evaluation.metrics["entity_recall"] == 0.5
    assert evaluation.metrics["token_accuracy"] == 0.75


@pytest.mark.parametrize(("n_words", "is_truncated"), [(6, False), (7, True)])
def test_row_that_just_fits_was_not_cut(n_words: int, is_truncated: bool) -> None:
    assert encode({"tokens": ["card"] * n_words}, max_length=8).is_truncated is is_truncated


def test_word_without_a_subword_is_outside_and_moves_no_other() -> None:
    row = {"tokens": ["anna", "\u200b", "rome"], "tags": ["B-PER", "O", "B-LOC"]}
    example = encode(row)
    assert not example.is_truncated
    evaluation = TASK.evaluate([[logits_of(example, row["tags"])]], [example], LABELS)
    assert evaluation.metrics["entity_f1"] == 1.0


def test_entity_figures_are_those_computed_by_hand() -> None:
    # PER: one of words 0-1 found too short, one found whole; LOC: one right, one invented.
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O", "O", "O"]]
    predicted = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "O", "B-LOC", "O"]]
    examples = [encode({"tokens": ["anna", "ben", "is", "rome"], "tags": tags}) for tags in truth]
    outputs = [[logits_of(example, tags)] for example, tags in zip(examples, predicted, strict=True)]
    evaluation = TASK.evaluate(outputs, examples, LABELS)
    assert evaluation.metrics == pytest.approx({
        "entity_precision": 2 / 4, "entity_recall": 2 / 3, "entity_f1": 2 * 0.5 * (2 / 3) / (0.5 + 2 / 3),
        "token_accuracy": 6 / 8})
    report = {line.label: (line.precision, line.recall, line.support) for line in evaluation.reports["per entity"]}
    assert report == {"LOC": pytest.approx((1 / 2, 1, 1)), "PER": pytest.approx((1 / 2, 1 / 2, 2)),
                      "all": pytest.approx((1 / 2, 2 / 3, 3))}
    assert {line.label: line.support for line in evaluation.reports["per tag"]} == {
        "O": 4, "B-LOC": 1, "I-LOC": 0, "B-PER": 2, "I-PER": 1}


def test_rows_without_any_entity_measure_zero_without_a_warning() -> None:
    example = encode({"tokens": ["my", "card"], "tags": ["O", "O"]})
    evaluation = TASK.evaluate([[logits_of(example, ["O", "O"])]], [example], LABELS)
    assert evaluation.metrics == {"entity_f1": 0.0, "entity_precision": 0.0, "entity_recall": 0.0,
                                  "token_accuracy": 1.0}


def test_loss_reads_first_subwords_only() -> None:
    example = encode({"tokens": ["abc", "rome"], "tags": ["B-PER", "B-LOC"]})  # abc has three subwords
    logits = torch.randn(1, len(example.target), len(LABELS), generator=torch.Generator().manual_seed(1))
    log = logits.log_softmax(dim=-1)[0]
    expected = -(log[1, LABELS.index("B-PER")] + log[4, LABELS.index("B-LOC")]) / 2
    assert float(TASK.loss([logits], [example])) == pytest.approx(float(expected))


def test_shorter_row_of_a_batch_adds_nothing_to_the_loss_by_its_padding() -> None:
    long, short = encode({"tokens": ["abc", "rome"], "tags": ["B-PER", "B-LOC"]}), encode({"tokens": ["my"],
                                                                                            "tags": ["O"]})
    logits = torch.randn(2, len(long.target), len(LABELS), generator=torch.Generator().manual_seed(1))
    other = logits.clone()
    other[1, len(short.target):] += 7.0
    assert TASK.loss([logits], [long, short]) == TASK.loss([other], [long, short])


def test_labels_begin_with_outside_and_pair_every_type() -> None:
    assert TASK.labels_of([{"tags": ["B-PER", "O"]}, {"tags": ["I-LOC"]}]) == LABELS


def test_rows_without_an_entity_are_no_task() -> None:
    with pytest.raises(DataError, match="No training row has an entity"):
        TASK.labels_of([{"tags": ["O", "O"]}])


def test_tag_unseen_in_training_is_refused_by_its_name() -> None:
    with pytest.raises(DataError, match=r"\['B-ORG'\] are not among the adapter's tags O, B-LOC"):
        encode({"tokens": ["a"], "tags": ["B-ORG"]})


def test_no_rows_encode_to_no_examples() -> None:
    assert TASK.encode([], TOKENIZER, LABELS, 16) == []


def test_entity_of_a_text_says_where_it_stands() -> None:
    row = TASK.parse_row("where is anna  ben, now?")
    example = encode(dict(row))
    tags = ["O", "O", "B-PER", "I-PER", "O", "O", "O"]
    entity = TASK.decode([logits_of(example, tags)], example, LABELS)["entities"][0]
    assert (entity["word"], entity["start"], entity["end"]) == ("anna  ben", 9, 18)
    assert row["text"][entity["start"]:entity["end"]] == entity["word"]


def test_entity_of_given_words_is_told_by_them() -> None:
    example = encode(dict(TASK.parse_row(["anna", "ben", "is"])))
    entity = TASK.decode([logits_of(example, ["B-PER", "I-PER", "O"])], example, LABELS)["entities"][0]
    assert entity["word"] == "anna ben"
    assert "start" not in entity


@pytest.mark.parametrize(("text", "expected"), [
    ("Order #48213 for Maria, please!", ["Order", "#48213", "for", "Maria", ",", "please", "!"]),
    ("ORD-7781 and 33-9087-2 (#5-6).", ["ORD-7781", "and", "33-9087-2", "(", "#5-6", ")", "."]),
    ("mail jane.doe+x@shop-mail.co.uk.", ["mail", "jane.doe+x@shop-mail.co.uk", "."]),
    ("$1,299.00 or 4.50€, 5 %", ["$", "1,299.00", "or", "4.50", "€", ",", "5", "%"]),
    ("on 14.02.2024 at 10:30?? 3.", ["on", "14.02.2024", "at", "10:30", "??", "3", "."]),
    ("don't pick-up O’Neil's...", ["don't", "pick-up", "O’Neil's", "..."]),
    ("see https://a.b/c?x=1.", ["see", "https://a.b/c?x=1", "."]),
    ("U.S. prices, e.g. @anna's", ["U.S.", "prices", ",", "e.g.", "@anna's"]),
    ("# @ x@y -- 北京", ["#", "@", "x", "@y", "--", "北京"]),
])
def test_text_is_split_as_people_write_such_words(text: str, expected: list[str]) -> None:
    row = TASK.parse_row(text)
    assert row["tokens"] == expected
    assert [text[start:end] for start, end in row["spans"]] == expected


def test_splitting_gives_the_words_of_the_example_rows_back() -> None:
    lines = files("adapterhub.examples").joinpath("entities.jsonl").read_text(encoding="utf-8").splitlines()
    tokens = [json.loads(line)["tokens"] for line in lines]
    assert [TASK.parse_row(" ".join(row))["tokens"] for row in tokens] == tokens


def test_splitting_a_long_run_of_signs_takes_linear_time() -> None:
    assert len(TASK.parse_row("a." * 20_000)["tokens"]) == 1
    assert len(TASK.parse_row("a-" * 20_000 + "@")["tokens"]) == 3


@pytest.mark.parametrize("row", ["", " ", [], ["a", ""], ["a", 3], 7, None, {"tokens": []}, {"text": ""},
                                 {"words": "a"}])
def test_unusable_row_is_refused(row: Any) -> None:
    with pytest.raises(PredictionError, match="A row for token-classification"):
        TASK.parse_row(row)
