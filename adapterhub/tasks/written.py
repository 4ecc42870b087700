"""What was written beside what is right: which test rows are answered, and ROUGE, BLEU and exact match of the answers.

It knows no model: who writes is the caller's.
"""

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.task import Evaluation, Row

LONGEST_ANSWER = 256
"""Tokens after which an answer is ended, however long the right one is."""
_ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
"""Our name -> that of the package."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One test row to be answered."""

    prompt: Row
    """With `prompt` or `messages`, as a caller would give it."""
    tokens: list[int]
    """The prompt as the base reads it."""
    right: list[str]
    """Texts that are right, at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The test rows to be answered, greedily."""

    rows: list[Question]
    max_new_tokens: int


def questions_of(task: GenerationTask, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, *, max_length: int,
                 limit: int) -> Questions:
    """Return the first `limit` rows that have a right answer and fit, answer and all, into what the base reads.

    Answers get as many tokens as the longest right one of these rows, and one to end with.
    """
    asked = [_question(task, row, tokenizer) for row in rows[:limit] if "text" not in row]
    if not asked:
        return Questions(rows=[], max_new_tokens=0)
    right = tokenizer([question.right[0] for question in asked], add_special_tokens=False)["input_ids"]
    n_new = min(LONGEST_ANSWER, max(map(len, right)) + 1)
    room = max_length - (0 if task.reads_apart else n_new)
    return Questions(rows=[question for question in asked if len(question.tokens) <= room], max_new_tokens=n_new)


def with_answers(evaluation: Evaluation, texts: Sequence[str], questions: Questions) -> Evaluation:
    """Return an evaluation with the figures of what was written, which say on how many rows they were measured."""
    if not texts:
        return evaluation
    figures = score_texts(texts, [question.right for question in questions.rows])
    return replace(evaluation, metrics={**evaluation.metrics, **figures},
                   n_rows_of={**evaluation.n_rows_of, **dict.fromkeys(figures, len(texts))})


def score_texts(texts: Sequence[str], right: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return exact_match, and where the extra `generation` is installed rouge_1, rouge_2, rouge_l and bleu.

    ROUGE is the F measure, 0 to 1, against the reference that is nearest; BLEU is the corpus's, 0 to 100.
    Sources: Lin 2004, ROUGE; Papineni et al. 2002, BLEU; Post 2018, arXiv 1804.08771 (sacreBLEU's tokens, 13a).
    """
    own = [text.strip() for text in texts]
    figures = {"exact_match": sum(text in map(str.strip, texts_right)
                                  for text, texts_right in zip(own, right, strict=True)) / len(own)}
    if any(importlib.util.find_spec(name) is None for name in ("rouge_score", "sacrebleu")):
        _log.warning("ROUGE and BLEU are not measured: pip install 'adapterhub[generation]'.")
        return figures
    return figures | _rouge(own, right) | {"bleu": _bleu(own, right)}


def _question(task: GenerationTask, row: Row, tokenizer: PreTrainedTokenizerBase) -> Question:
    if "messages" in row:
        prompt: dict[str, Any] = {"messages": list(row["messages"][:-1])}
        right = [row["messages"][-1]["content"]]
    else:
        prompt, right = {"prompt": row["prompt"]}, [row["completion"], *row.get("references", ())]
    return Question(prompt=prompt, tokens=task.encode_prompt(prompt, tokenizer), right=list(dict.fromkeys(right)))


def _rouge(texts: Sequence[str], right: Sequence[Sequence[str]]) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer  # of the extra

    scorer = RougeScorer(list(_ROUGE.values()))
    scores = [scorer.score_multi(list(own), text) for text, own in zip(texts, right, strict=True)]
    return {name: sum(score[theirs].fmeasure for score in scores) / len(scores) for name, theirs in _ROUGE.items()}


def _bleu(texts: Sequence[str], right: Sequence[Sequence[str]]) -> float:
    from sacrebleu import corpus_bleu  # of the extra

    most = max(map(len, right))
    references = [[own[k] if k < len(own) else "" for own in right] for k in range(most)]  # "" is no reference
    return float(corpus_bleu(list(texts), references).score)
