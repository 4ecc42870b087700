"""question-answering: the answer to a question is a part of a text, found by its first and its last token."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError
from adapterhub.tasks.rows import require_texts
from adapterhub.tasks.span_metrics import exact_match, overlap_f1
from adapterhub.tasks.stretches import encode_stretches
from adapterhub.tasks.task import Evaluation, Example, Row, TokenSequence

MAX_ANSWER_TOKENS = 30
"""Source: Devlin et al. 2018 (BERT), run_squad.py, max_answer_length."""


class _Span(NamedTuple):
    """A part of a context: characters from `start` up to `end`, and how good it is as an answer."""

    start: int
    end: int
    score: float


class QuestionAnswering:
    """Extractive answers with the architecture's own question-answering head; long contexts are read in stretches."""

    name = "question-answering"
    columns = Columns(required=("question", "context", "answers"))
    auto_class = AutoModelForQuestionAnswering
    peft_task_type = "QUESTION_ANS"
    metrics: tuple[str, ...] = ("f1", "exact_match")
    stratify_by: str | None = None
    has_stretches = True
    writes = False

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return the names of the head's two outputs. Raises DataError where there are no rows."""
        if not rows:
            raise DataError("There are no training rows.", hint="Give questions, contexts and their answers.")
        return ["start", "end"]

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Encode a question with each stretch of its context. Raises DataError where a question is too long."""
        if not rows:
            return []
        stretches = encode_stretches(tokenizer, [row["question"] for row in rows], [row["context"] for row in rows],
                                     max_length)
        return [Example(sequences=own, row=row, target=[_target(sequence, row["answers"][0], tokenizer)
                                                        for sequence in own] if "answers" in row else None)
                for row, own in zip(rows, stretches, strict=True)]

    def lessons(self, examples: Sequence[Example]) -> list[Example]:
        """Return each stretch on its own: each has its first and last token to be learned."""
        return [Example(sequences=[sequence], target=target, row=example.row) for example in examples
                for sequence, target in zip(example.sequences, example.target, strict=True)]

    def outputs(self, model_output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return each token's logits as the answer's first and last [B, T, 2]."""
        return torch.stack([model_output.start_logits, model_output.end_logits], dim=-1)

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the mean cross entropy of first and last token; padding is no choice."""
        logits = outputs[0].float()  # [B, T, 2]
        lengths = torch.tensor([len(example.sequences[0].input_ids) for example in examples], device=logits.device)
        is_padding = torch.arange(logits.shape[1], device=logits.device) >= lengths[:, None]  # [B, T]
        logits = logits.masked_fill(is_padding[:, :, None], float("-inf"))
        targets = torch.tensor([example.target for example in examples], device=logits.device)  # [B, 2]
        return torch.nn.functional.cross_entropy(logits, targets)

    def loss_weight(self, examples: Sequence[Example]) -> float:
        """Return the number of stretches."""
        return float(len(examples))

    def can_split(self, examples: Sequence[Example]) -> bool:
        """Say yes: each stretch has its own loss."""
        return True

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure exact match and F1, each against the right answer that is nearest."""
        found = [self.decode(own, example, labels)["answer"] for own, example in zip(outputs, examples, strict=True)]
        right = [[answer["text"] for answer in example.row["answers"]] for example in examples]
        pairs = list(zip(found, right, strict=True))
        return Evaluation(metrics={"f1": sum(overlap_f1(*pair) for pair in pairs) / len(pairs),
                                   "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs)},
                          n_rows=len(examples))

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return the best span of all stretches: its text, its characters in the context, its probability.

        The probability is that of its first times that of its last token, among all tokens of the context.
        """
        context = example.row["context"]
        spans = [span for logits, sequence in zip(outputs, example.sequences, strict=True)
                 if (span := _best_span(logits, sequence)) is not None]
        if not spans:
            return {"answer": "", "start": 0, "end": 0, "score": 0.0}
        best = max(spans, key=lambda span: span.score)
        total = sum(_log_total(outputs, example.sequences))
        return {"answer": context[best.start:best.end], "start": best.start, "end": best.end,
                "score": float(torch.tensor(best.score - total).exp())}

    def parse_row(self, row: Any) -> Row:
        """Accept a pair of question and context, or a mapping with both."""
        if isinstance(row, (list, tuple)) and len(row) == 2:
            row = {"question": row[0], "context": row[1]}
        return require_texts(row, self.name, ("question", "context"))


def _target(sequence: TokenSequence, answer: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Return the answer's first and last token; both the first token of all where this stretch has it not whole.

    Source: Devlin et al. 2018 (BERT), §4.3, where [CLS] stands for no answer.
    """
    start, end = answer["start"], answer["start"] + len(answer["text"])
    placed = [(i, span) for i, span in enumerate(sequence.span_of_token) if span is not None]
    inside = [i for i, (first, last) in placed if first < end and last > start]
    if not inside or placed[0][1][0] > start or placed[-1][1][1] < end:
        ids = sequence.input_ids
        nowhere = ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0
        return nowhere, nowhere
    return inside[0], inside[-1]


def _best_span(logits: torch.Tensor, sequence: TokenSequence) -> _Span | None:
    """Return the span of the context whose two logits sum up highest; None where the stretch has no context."""
    spans = sequence.span_of_token
    places = [i for i, span in enumerate(spans) if span is not None and span[0] < span[1]]
    if not places:
        return None
    own = logits.float()[places]  # [P, 2]
    sums = own[:, None, 0] + own[None, :, 1]  # [P, P] of (first, last)
    allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(MAX_ANSWER_TOKENS - 1)
    best = int(sums.masked_fill(~allowed, float("-inf")).argmax())
    first, last = spans[places[best // len(places)]], spans[places[best % len(places)]]
    assert first is not None, "places are those of the context"
    assert last is not None, "places are those of the context"
    return _Span(first[0], last[1], float(sums.flatten()[best]))


def _log_total(outputs: list[torch.Tensor], sequences: list[TokenSequence]) -> tuple[float, float]:
    """Return the logarithms by which first and last logits become probabilities over the whole context."""
    own = torch.cat([logits.float()[[i for i, span in enumerate(sequence.span_of_token) if span is not None]]
                     for logits, sequence in zip(outputs, sequences, strict=True)])
    first, last = own.logsumexp(dim=0).tolist()
    return first, last
