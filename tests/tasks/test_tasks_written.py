"""What was written is measured against what is right, and only where the answer fits into what the base reads."""

from typing import Any

import pytest
from language_models import byte_tokenizer

from adapterhub.tasks.task import Evaluation
from adapterhub.tasks.text2text_generation import Text2TextGeneration
from adapterhub.tasks.text_generation import TextGeneration
from adapterhub.tasks.written import Answered, Question, questions_of, with_answers

TOKENIZER = byte_tokenizer()
CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def questions(rows: list[dict[str, Any]], task: Any = None, *, max_length: int = 40, limit: int = 10) -> Any:
    return questions_of(task or TextGeneration(), rows, TOKENIZER, max_length=max_length, limit=limit)


def test_answers_get_the_room_of_the_longest_right_one() -> None:
    found = questions([{"prompt": "a", "completion": "bcd", "references": ["bcd", "x"]},
                       {"prompt": "e", "completion": "fg"}])
    assert found.max_new_tokens == 4
    assert [row.right for row in found.rows] == [["bcd", "x"], ["fg"]]
    assert found.rows[0].prompt == {"prompt": "a"}


def test_chat_is_asked_up_to_its_last_answer_and_plain_text_not_at_all() -> None:
    (found,) = questions([{"messages": CHAT}]).rows
    assert (found.prompt, found.right) == ({"messages": CHAT[:1]}, ["hello"])
    assert questions([{"text": "once"}]).rows == []


def test_prompt_that_leaves_no_room_is_left_out_unless_it_is_read_apart() -> None:
    rows = [{"prompt": "a" * 30, "completion": "bcd"}, {"prompt": "a", "completion": "bcd"}]
    assert len(questions(rows, max_length=32).rows) == 1
    assert len(questions(rows, Text2TextGeneration(), max_length=32).rows) == 2
    assert len(questions(rows, limit=1).rows) == 1


def answered(text: str, *right: str) -> Answered:
    return Answered(Question(place=0, prompt={"prompt": "a"}, tokens=[1], right=list(right)), text)


def figures(*answers: Answered) -> dict[str, float]:
    return with_answers(Evaluation(metrics={}, n_rows=9), answers).metrics


def test_equal_texts_have_the_best_figures_and_strange_ones_the_worst() -> None:
    long = "the cat sat on the mat and slept"
    assert figures(answered(long + " ", "a dog", long)) == pytest.approx(
        {"exact_match": 1, "rouge_1": 1, "rouge_2": 1, "rouge_l": 1, "bleu": 100})
    assert figures(answered("zzz", long)) == pytest.approx(
        {"exact_match": 0, "rouge_1": 0, "rouge_2": 0, "rouge_l": 0, "bleu": 0})


def test_rouge_is_the_overlap_computed_by_hand_with_the_nearest_reference() -> None:
    found = figures(answered("the cat ran", "a dog", "the cat sat down"), answered("x", "y"))
    assert found["rouge_1"] == pytest.approx((2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)) / 2)
    assert found["rouge_2"] == pytest.approx((2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3)) / 2)


def test_figures_say_on_how_many_rows_they_were_measured() -> None:
    found = with_answers(Evaluation(metrics={"loss": 1.0}, n_rows=9), [answered("b", "b")])
    assert found.metrics["exact_match"] == 1
    assert found.n_rows_of["exact_match"] == 1
    assert found.n_rows == 9
    assert "loss" not in found.n_rows_of


def test_without_the_extra_exact_match_is_measured_and_the_rest_is_told(monkeypatch: pytest.MonkeyPatch,
                                                                        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert figures(answered("b", "b")) == {"exact_match": 1}
    assert "adapterhub[generation]" in caplog.text
