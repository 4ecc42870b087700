"""sentence-similarity: embeddings, losses and ranks, each against a slow twin."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from tiny import tiny_tokenizer

from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.sentence_similarity import SCALE, SentenceSimilarity
from adapterhub.tasks.task import Example

TASK = SentenceSimilarity()


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def pairs(answers: list[str], queries: list[str] | None = None) -> list[Example]:
    asked = queries or [f"question {i}" for i in range(len(answers))]
    return [Example(sequences=[], row={"query": q, "answer": a}) for q, a in zip(asked, answers, strict=True)]


def scored(*scores: float) -> list[Example]:
    return [Example(sequences=[], target=score, row={}) for score in scores]


def slow_rank(i: int, queries: torch.Tensor, answers: torch.Tensor, texts: list[str]) -> int:
    """Count the distinct answers that stand no lower than the right one."""
    distinct = {text: texts.index(text) for text in texts}
    mine = float(queries[i] @ answers[distinct[texts[i]]])
    return sum(float(queries[i] @ answers[j]) >= mine for j in distinct.values())


@pytest.mark.parametrize("seed", range(4))
def test_ranks_and_their_figures_equal_the_slow_twin(seed: int) -> None:
    texts = [f"answer {i % 9}" for i in range(14)]  # some answers stand twice
    rows = unit(9, 5, seed=seed)
    queries, answers = unit(14, 5, seed=seed + 100), rows[torch.arange(14) % 9]
    ranks = [slow_rank(i, queries, answers, texts) for i in range(14)]
    evaluation = TASK.evaluate([[q, a] for q, a in zip(queries, answers, strict=True)], pairs(texts), [])
    assert evaluation.metrics["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / 14)
    assert evaluation.metrics["recall_at_1"] == pytest.approx(sum(rank == 1 for rank in ranks) / 14)
    assert evaluation.n_rows == 14


def test_figures_are_those_computed_by_hand() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    outputs = [[east, east], [east, north]]  # the first finds its answer, the second ranks its own behind
    metrics = TASK.evaluate(outputs, pairs(["a", "b"]), []).metrics
    assert metrics == {"mrr": 0.75, "recall_at_1": 0.5}


def test_collapsed_embedding_ranks_last_rather_than_first() -> None:
    same = torch.tensor([1.0, 0.0])
    metrics = TASK.evaluate([[same, same]] * 4, pairs(["a", "b", "c", "d"]), []).metrics
    assert metrics == {"mrr": 0.25, "recall_at_1": 0.0}


def test_spearman_is_the_correlation_of_ranks() -> None:
    queries, answers = unit(12, 4, seed=1), unit(12, 4, seed=2)
    scores = [(5 * i) % 7 / 2 for i in range(12)]
    outputs = [[q, a] for q, a in zip(queries, answers, strict=True)]
    value = TASK.evaluate(outputs, scored(*scores), []).metrics["spearman"]
    cosines = (queries * answers).sum(dim=-1).numpy()
    assert value == pytest.approx(np.corrcoef(rankdata(cosines), rankdata(scores))[0, 1])


def test_equal_scores_cannot_be_measured() -> None:
    with pytest.raises(DataError, match="All 3 rows measured have the score 2"):
        TASK.evaluate([[unit(4), unit(4)]] * 3, scored(2, 2, 2), [])


def test_embedding_that_tells_nothing_apart_correlates_with_nothing() -> None:
    same = torch.tensor([1.0, 0.0])
    assert TASK.evaluate([[same, same]] * 3, scored(1, 2, 3), []).metrics == {"spearman": 0.0}


def slow_ranking_loss(queries: torch.Tensor, answers: torch.Tensor, examples: list[Example]) -> float:
    total = 0.0
    for i, own in enumerate(examples):
        others = [j for j, other in enumerate(examples)
                  if j != i and other.row["answer"] != own.row["answer"] and other.row["query"] != own.row["query"]]
        right = math.exp(SCALE * float(queries[i] @ answers[i]))
        total -= math.log(right / (right + sum(math.exp(SCALE * float(queries[i] @ answers[j])) for j in others)))
        total -= math.log(right / (right + sum(math.exp(SCALE * float(queries[j] @ answers[i])) for j in others)))
    return total / (2 * len(examples))


@pytest.mark.parametrize(("answers", "queries"), [
    (["a", "b", "c", "d"], None),
    (["a", "b", "a", "c"], None),
    (["a", "b", "c", "d"], ["x", "y", "x", "z"]),
], ids=["all differ", "an equal answer", "an equal query"])
def test_ranking_loss_equals_the_slow_twin(answers: list[str], queries: list[str] | None) -> None:
    examples, outputs = pairs(answers, queries), [unit(4, 6, seed=3), unit(4, 6, seed=4)]
    assert float(TASK.loss(outputs, examples)) == pytest.approx(slow_ranking_loss(*outputs, examples), rel=1e-4)


def test_order_loss_equals_the_slow_twin_and_knows_no_scale() -> None:
    outputs, scores = [unit(5, 6, seed=5), unit(5, 6, seed=6)], [0.0, 2.5, 1.0, 1.0, 5.0]
    cosines = (outputs[0] * outputs[1]).sum(dim=-1).tolist()
    expected = math.log(1 + sum(math.exp(SCALE * (cosines[j] - cosines[i]))
                                for i in range(5) for j in range(5) if scores[i] > scores[j]))
    assert float(TASK.loss(outputs, scored(*scores))) == pytest.approx(expected, rel=1e-4)
    tenth = scored(*(score / 10 for score in scores))
    assert float(TASK.loss(outputs, tenth)) == pytest.approx(expected, rel=1e-4)


def test_pairs_of_equal_scores_ask_nothing() -> None:
    assert float(TASK.loss([unit(3, 4), unit(3, 4, seed=1)], scored(1, 1, 1))) == 0.0


def test_embeddings_have_length_one_and_do_not_see_padding() -> None:
    hidden, mask = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1)), torch.ones(2, 5)
    mask[1, 3:] = 0
    other = hidden.clone()
    other[1, 3:] = 99.0
    embeddings = TASK.outputs(SimpleNamespace(last_hidden_state=hidden), {"attention_mask": mask})
    assert torch.allclose(embeddings.norm(dim=-1), torch.ones(2))
    assert torch.equal(embeddings, TASK.outputs(SimpleNamespace(last_hidden_state=other), {"attention_mask": mask}))
    assert torch.allclose(embeddings[1] * hidden[1, :3].mean(dim=0).norm(), hidden[1, :3].mean(dim=0), atol=1e-6)


def test_every_text_of_a_row_is_its_own_sequence() -> None:
    rows = [{"query": "my card", "answer": "new card", "score": 3.0}, {"text": "my card"},
            {"query": "my card", "candidates": ["new", "the loan", "bread"]}]
    examples = TASK.encode(rows, tiny_tokenizer(), [], 16)
    assert [len(example.sequences) for example in examples] == [2, 1, 4]
    assert [example.target for example in examples] == [3.0, None, None]
    assert examples[0].sequences[0] == examples[1].sequences[0] == examples[2].sequences[0]


@pytest.mark.parametrize(("n_words", "is_truncated"), [(6, False), (7, True)])
def test_text_that_just_fits_was_not_cut(n_words: int, is_truncated: bool) -> None:
    row = {"query": "my", "answer": " ".join(["card"] * n_words)}
    assert TASK.encode([row], tiny_tokenizer(), [], 8)[0].is_truncated is is_truncated


def test_no_rows_encode_to_no_examples() -> None:
    assert TASK.encode([], tiny_tokenizer(), [], 16) == []


def test_candidates_come_back_ranked() -> None:
    example = Example(sequences=[], row={"query": "q", "candidates": ["far", "near", "middle"]})
    query = torch.tensor([1.0, 0.0])
    answer = TASK.decode([query, torch.tensor([-1.0, 0.0]), query, torch.tensor([0.0, 1.0])], example, [])
    assert [entry["text"] for entry in answer["ranking"]] == ["near", "middle", "far"]
    assert (answer["answer"], answer["score"]) == ("near", 1.0)


def test_pair_gives_its_cosine_and_text_its_embedding() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert TASK.decode([east, north], Example(sequences=[], row={"query": "q", "answer": "a"}), []) == {"score": 0.0}
    assert TASK.decode([east], Example(sequences=[], row={"text": "t"}), []) == {"embedding": [1.0, 0.0]}


def test_single_pair_is_no_task() -> None:
    with pytest.raises(DataError, match="There are 1 training pairs"):
        TASK.labels_of([{"query": "q", "answer": "a"}])


@pytest.mark.parametrize(("row", "expected"), [
    ("a text", {"text": "a text"}),
    (("q", "a"), {"query": "q", "answer": "a"}),
    ({"query": "q", "candidates": ("a", "b")}, {"query": "q", "candidates": ["a", "b"]}),
    ({"text": "q", "candidates": ["a"]}, {"query": "q", "candidates": ["a"]}),
])
def test_row_to_predict_is_a_text_a_pair_or_candidates(row: Any, expected: dict[str, Any]) -> None:
    assert TASK.parse_row(row) == expected


@pytest.mark.parametrize("row", ["", None, 3, {}, {"query": "q"}, {"query": "", "answer": "a"}, ("a", ""),
                                 ["a", "b", "c"], {"query": "q", "candidates": []}, {"query": "q", "candidates": "abc"},
                                 {"query": "q", "candidates": 5}, {"query": "q", "candidates": ["a", " "]},
                                 {"candidates": ["a"]}])
def test_unusable_row_is_refused(row: Any) -> None:
    with pytest.raises(PredictionError):
        TASK.parse_row(row)
