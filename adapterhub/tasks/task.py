"""What every task offers: the records that pass between data, the model and its readers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from adapterhub.data.columns import Columns

Row = Mapping[str, Any]
IGNORED = -100
"""Target of what is not learned: special tokens, a word's later subwords, prompts; torch's cross entropy skips it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """One sequence as the base reads it."""

    input_ids: list[int]  # [T]
    token_type_ids: list[int]  # [T] 0 for the first text, 1 for the second
    word_of_token: list[int | None] = field(default_factory=list)  # [T] None for special tokens
    span_of_token: list[tuple[int, int] | None] = field(default_factory=list)
    """[T] First character in the text and the one behind the last; None outside the text that is read for answers."""
    position_ids: list[int] = field(default_factory=list)
    """[T] Where several texts lie packed in one sequence, each token's place in its own text."""
    labels: list[int] = field(default_factory=list)
    """[T] Of what is written, the token that has to follow each token; an encoder-decoder's are [U], its own text's.

    IGNORED where nothing is learned. They alone say what a writing task learns: it has no other target.
    """

    @property
    def n_outputs(self) -> int:
        """Tokens for which a task that reads them one by one gets an output."""
        return len(self.labels) or len(self.input_ids)

    @property
    def n_labels(self) -> int:
        """Labels that are learned."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row, encoded: the sequences that the base must read for it, and what is right."""

    sequences: list[TokenSequence]
    """One for most tasks; two for a pair that is compared; one and its candidates; the stretches of a long text."""
    target: Any = None
    """Class index, tag indices per token, a score, tokens per stretch; None where it is not known."""
    row: Row = field(default_factory=dict)
    """The row itself, for decoding back to its words."""
    is_truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One line of a per-class report."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures on one set of rows."""

    metrics: dict[str, float]
    n_rows: int
    reports: dict[str, list[ClassScore]] = field(default_factory=dict)
    """Title -> lines: per class, per entity type, per token tag."""
    n_rows_of: dict[str, int] = field(default_factory=dict)
    """Metric -> rows, where a metric was measured on fewer: texts are written for some of them only."""


class Task(Protocol):
    """One task, in the Hugging Face pipeline's name."""

    name: str
    columns: Columns
    """Fields that a training row needs, and those it may have."""
    auto_class: Any
    """The transformers class that puts this task's head on a base."""
    peft_task_type: str
    metrics: tuple[str, ...]
    """Names of what `evaluate` measures; the first is the default for choosing the best."""
    stratify_by: str | None
    """The field whose values are kept in proportion by a split."""
    has_stretches: bool
    """Whether a text longer than `max_length` becomes several sequences, as long in serving as in training."""
    writes: bool
    """Whether the answer is new text, by the base's own language-model head, which stays frozen."""

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return the labels of training rows, sorted. Raises DataError where they make no task."""

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Turn rows into token sequences and targets. Raises DataError for an unusable row."""

    def lessons(self, examples: Sequence[Example]) -> list[Example]:
        """Return what training learns from one by one: the examples, or the parts that each of them falls into."""

    def outputs(self, model_output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Take what this task reads from a model's output: logits [B, L], [B, T, L] or embeddings [B, I].

        `inputs` are those of `collate`.
        """

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the mean loss; outputs[k] belongs to the k-th sequence of each example."""

    def loss_weight(self, examples: Sequence[Example]) -> float:
        """Return over how many things the mean of `loss` goes: rows, or labelled tokens.

        Where `can_split` holds, a batch's loss is the mean of its parts' losses, each by its own weight. A part of
        weight 0 has nothing to learn, and its loss may be no number.
        """

    def can_split(self, examples: Sequence[Example]) -> bool:
        """Say whether a batch may be learned in parts; not where rows are told apart from the others of the batch."""

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure; outputs[i] holds one tensor per sequence of example i, cut to its own length."""

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return one row's answer as plain values."""

    def parse_row(self, row: Any) -> Row:
        """Turn what a caller gives for prediction (a text, or a mapping) into a row. Raises PredictionError."""
