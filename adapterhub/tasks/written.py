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

N_WRITTEN = 100
"""Rows that are answered, unless another number is asked for: writing takes as many passes as answers have tokens."""
LONGEST_ANSWER = 256
"""Tokens after which an answer is ended, however long the right one is."""
_ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
"""Our name -> that of the package."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One test row to be answered."""

    place: int
    """Of the row among all that are measured."""
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


@dataclass(frozen=True, slots=True)
class Answered:
    """One of them with the text that was written."""

    question: Question
    text: str


def questions_of(task: GenerationTask, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, *, max_length: int,
                 limit: int) -> Questions:
    """Return the first `limit` rows that have a right answer and fit, answer and all, into what the base reads.

    Answers get as many tokens as the longest right one of these rows, and one to end with.
    """
    asked = [_question(task, place, row, tokenizer) for place, row in enumerate(rows[:limit]) if "text" not in row]
    if not asked:
        return Questions(rows=[], max_new_tokens=0)
    right = tokenizer([question.right[0] for question in asked], add_special_tokens=False)["input_ids"]
    n_new = min(LONGEST_ANSWER, max(map(len, right)) + 1)
    room = max_length - (0 if task.reads_apart else n_new)
    return Questions(rows=[question for question in asked if len(question.tokens) <= room], max_new_tokens=n_new)


def with_answers(evaluation: Evaluation, answers: Sequence[Answered]) -> Evaluation:
    """Return an evaluation with the figures of what was written, which say on how many rows they were measured.

    ROUGE is the F measure, 0 to 1, against the reference that is nearest; BLEU is the corpus's, 0 to 100.
    Sources: Lin 2004, ROUGE; Papineni et al. 2002, BLEU; Post 2018, arXiv 1804.08771 (sacreBLEU's tokens, 13a).
    """
    if not answers:
        return evaluation
    lines = score_rows(answers)
    figures = {name: sum(line[name] for line in lines) / len(lines) for name in lines[0]}
    if _has_extra():
        figures["bleu"] = _bleu(answers)
    return replace(evaluation, metrics={**evaluation.metrics, **figures},
                   n_rows_of={**evaluation.n_rows_of, **dict.fromkeys(figures, len(answers))})


def score_rows(answers: Sequence[Answered]) -> list[dict[str, float]]:
    """Return each answer's exact_match, and where the extra `generation` is installed its rouge_1, rouge_2, rouge_l."""
    lines = [{"exact_match": float(answer.text.strip() in map(str.strip, answer.question.right))}
             for answer in answers]
    if not _has_extra():
        _log.warning("ROUGE and BLEU are not measured: pip install 'adapterhub[generation]'.")
        return lines
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(_ROUGE.values()))
    for answer, line in zip(answers, lines, strict=True):
        scores = scorer.score_multi(answer.question.right, answer.text)
        line |= {name: scores[theirs].fmeasure for name, theirs in _ROUGE.items()}
    return lines


def _has_extra() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("rouge_score", "sacrebleu"))


def _bleu(answers: Sequence[Answered]) -> float:
    from sacrebleu import corpus_bleu

    rights = [answer.question.right for answer in answers]
    references = [[own[k] if k < len(own) else "" for own in rights]  # "" is no reference
                  for k in range(max(map(len, rights)))]
    return float(corpus_bleu([answer.text.strip() for answer in answers], references).score)


def _question(task: GenerationTask, place: int, row: Row, tokenizer: PreTrainedTokenizerBase) -> Question:
    if "messages" in row:
        prompt: dict[str, Any] = {"messages": list(row["messages"][:-1])}
        right = [row["messages"][-1]["content"]]
    else:
        prompt, right = {"prompt": row["prompt"]}, [row["completion"], *row.get("references", ())]
    return Question(place=place, prompt=prompt, tokens=task.encode_prompt(prompt, tokenizer),
                    right=list(dict.fromkeys(right)))
