"""question-answering: stretches that read the whole context, spans there and back, figures by hand."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_tokenizer

from adapterhub.errors import DataError, InvalidConfig, PredictionError
from adapterhub.tasks.question_answering import MAX_ANSWER_TOKENS, QuestionAnswering
from adapterhub.tasks.span_metrics import exact_match, overlap_f1
from adapterhub.tasks.stretches import encode_stretches
from adapterhub.tasks.task import Example

TASK = QuestionAnswering()
TOKENIZER = tiny_tokenizer()
LABELS = ["start", "end"]
LONG = " ".join(["the new card", "my loan", "where is rome"] * 12) + " oslo"


def example_of(context: str, answer: str | None = None, *, max_length: int = 24) -> Example:
    row: dict[str, Any] = {"question": "where is anna", "context": context}
    if answer is not None:
        row["answers"] = [{"text": answer, "start": context.index(answer)}]
    return TASK.encode([row], TOKENIZER, LABELS, max_length)[0]


def sharp_logits(example: Example) -> list[torch.Tensor]:
    """Logits that stand at each stretch's target, higher where the answer is."""
    tensors = []
    for sequence, (first, last) in zip(example.sequences, example.target, strict=True):
        logits = torch.zeros(len(sequence.input_ids), 2)
        logits[first, 0] = logits[last, 1] = 9.0
        tensors.append(logits)
    return tensors


def test_stretches_read_every_token_of_the_context_and_overlap() -> None:
    sequences = encode_stretches(TOKENIZER, ["where is anna"], [LONG], 24)[0]
    spans = [[span for span in sequence.span_of_token if span] for sequence in sequences]
    alone = [span for span in TOKENIZER(LONG, return_offsets_mapping=True)["offset_mapping"] if span[1]]
    assert sorted({span for own in spans for span in own}) == alone
    assert all(len(sequence.input_ids) <= 24 for sequence in sequences)
    assert all(set(own) & set(following) for own, following in itertools.pairwise(spans))
    assert len(sequences) > 3


def test_only_the_context_has_places() -> None:
    sequence = example_of("rome", "rome").sequences[0]
    assert sequence.span_of_token == [None] * 5 + [(0, 4), None]
    assert sequence.token_type_ids == [0] * 7  # stock PEFT drops them


@pytest.mark.parametrize("answer", ["oslo", "the new card", "is rome", "card", "zoslo"])
def test_right_logits_decode_to_the_answer_that_was_encoded(answer: str) -> None:
    context = LONG + " zoslo"
    example = example_of(context, answer)
    decoded = TASK.decode(sharp_logits(example), example, LABELS)
    assert decoded["answer"] == answer == context[decoded["start"]:decoded["end"]]
    assert 0 < decoded["score"] <= 1


def test_stretch_without_the_answer_points_to_its_first_token() -> None:
    example = example_of(LONG, "oslo")
    assert example.target[0] == (0, 0)
    first, last = example.target[-1]
    assert first == last > 0


def test_lessons_are_the_stretches_each_with_its_own_target() -> None:
    example = example_of(LONG, "oslo")
    lessons = TASK.lessons([example])
    assert [lesson.sequences for lesson in lessons] == [[sequence] for sequence in example.sequences]
    assert [lesson.target for lesson in lessons] == example.target


def test_score_is_the_probability_over_all_stretches() -> None:
    example = example_of(LONG, "oslo")
    logits = [torch.randn(len(sequence.input_ids), 2, generator=torch.Generator().manual_seed(i))
              for i, sequence in enumerate(example.sequences)]
    places = [(k, i) for k, sequence in enumerate(example.sequences)
              for i, span in enumerate(sequence.span_of_token) if span]
    totals = [sum(float(logits[k][i, side].exp()) for k, i in places) for side in (0, 1)]
    best = max(((k, i, j) for k, i in places for m, j in places if m == k and i <= j < i + MAX_ANSWER_TOKENS),
               key=lambda found: float(logits[found[0]][found[1], 0] + logits[found[0]][found[2], 1]))
    k, i, j = best
    decoded = TASK.decode(logits, example, LABELS)
    spans = example.sequences[k].span_of_token
    assert (decoded["start"], decoded["end"]) == (spans[i][0], spans[j][1])  # type: ignore[index]
    expected = float(logits[k][i, 0].exp()) / totals[0] * float(logits[k][j, 1].exp()) / totals[1]
    assert decoded["score"] == pytest.approx(expected, rel=1e-4)


def test_answer_never_ends_before_it_begins_nor_leaves_the_context() -> None:
    example = example_of("rome is new")
    logits = torch.zeros(len(example.sequences[0].input_ids), 2)
    logits[0] = 50.0  # [CLS] is no answer
    logits[7, 0], logits[5, 1] = 9.0, 8.0  # last word first, first word last
    decoded = TASK.decode([logits], example, LABELS)
    assert decoded["start"] < decoded["end"]
    assert decoded["answer"] == "new"


def test_loss_is_the_mean_of_both_cross_entropies_without_padding() -> None:
    examples = TASK.lessons([example_of("rome is new", "is"), example_of("rome", "rome")])
    logits = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for i, example in enumerate(examples):
        own = logits[i, :len(example.sequences[0].input_ids)].log_softmax(dim=0)
        expected -= float(own[example.target[0], 0] + own[example.target[1], 1]) / 4
    assert float(TASK.loss([logits], examples)) == pytest.approx(expected)


def test_outputs_are_first_and_last_logits_side_by_side() -> None:
    output = SimpleNamespace(start_logits=torch.tensor([[1.0, 2.0]]), end_logits=torch.tensor([[3.0, 4.0]]))
    assert TASK.outputs(output, {}).tolist() == [[[1.0, 3.0], [2.0, 4.0]]]


@pytest.mark.parametrize(("found", "right", "exact", "f1"), [
    ("The Rome!", ["rome"], 1, 1), ("rome", ["oslo", "Rome."], 1, 1), ("in rome", ["rome"], 0, 2 / 3),
    ("oslo", ["rome"], 0, 0), ("", ["rome"], 0, 0), ("the", ["a"], 1, 1),
    ("rome rome", ["rome oslo rome lima"], 0, 2 / 3),
])
def test_figures_of_a_pair_are_those_computed_by_hand(found: str, right: list[str], exact: float, f1: float) -> None:
    assert exact_match(found, right) == exact
    assert overlap_f1(found, right) == pytest.approx(f1)


def test_evaluation_is_the_mean_over_rows() -> None:
    right, wrong = example_of(LONG, "oslo"), example_of("rome is new", "rome")
    logits = torch.zeros(len(wrong.sequences[0].input_ids), 2)
    logits[5, 0] = logits[6, 1] = 5.0  # rome is
    evaluation = TASK.evaluate([sharp_logits(right), [logits]], [right, wrong], LABELS)
    assert evaluation.metrics == pytest.approx({"f1": (1 + 2 / 3) / 2, "exact_match": 0.5})
    assert evaluation.n_rows == 2


def test_question_that_leaves_no_room_is_refused_with_its_length() -> None:
    with pytest.raises(DataError, match=r"has 15 tokens, a sequence of 24 leaves it 14\. Shorten the question"):
        TASK.encode([{"question": "new " * 15, "context": LONG}], TOKENIZER, LABELS, 24)
    assert TASK.encode([{"question": "new " * 14, "context": LONG}], TOKENIZER, LABELS, 24)


def test_tokenizer_without_offsets_is_refused() -> None:
    slow: Any = SimpleNamespace(is_fast=False)
    with pytest.raises(InvalidConfig, match="does not tell where in a text"):
        encode_stretches(slow, ["a"], ["b"], 24)


@pytest.mark.parametrize("row", [("where", "rome"), {"question": "where", "context": "rome", "id": 3}])
def test_row_to_predict_is_a_pair_or_a_mapping(row: Any) -> None:
    assert TASK.parse_row(row) == {"question": "where", "context": "rome"}


@pytest.mark.parametrize("row", ["where", {"question": "where"}, {"context": "rome"}, ("a", " "), None, 3])
def test_unusable_row_is_refused(row: Any) -> None:
    with pytest.raises(PredictionError, match="A row for question-answering"):
        TASK.parse_row(row)


def test_no_rows_are_no_task() -> None:
    assert TASK.encode([], TOKENIZER, LABELS, 24) == []
    with pytest.raises(DataError, match="no training rows"):
        TASK.labels_of([])
