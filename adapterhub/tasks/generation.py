"""What the tasks that write text share: losses, figures and scores of tokens. It knows no model."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError
from adapterhub.tasks.prompts import encode_prompt, parse_prompt
from adapterhub.tasks.task import IGNORED, Evaluation, Example, Row, TokenSequence

LARGEST_LOSS = 700.0
"""Natural logarithms of larger perplexities are no floating-point numbers any more."""


class GenerationTask(ABC):
    """New text, token by token, by the base's own language-model head.

    What is read of a token is how likely it was: the outputs are [B, T, 2], the label's log-probability, and how far
    its logit lies below the largest one, which is 0 where the token would have been chosen. Both are 0 without a label.
    """

    name: str
    auto_class: Any
    peft_task_type: str
    columns: Columns
    metrics: tuple[str, ...] = ("perplexity", "loss", "token_accuracy")
    stratify_by: str | None = None
    has_stretches = False
    writes = True
    reads_apart = False
    """Whether a prompt is read apart from what is written, and takes no room from it."""

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return no labels. Raises DataError where there are no rows."""
        if not rows:
            raise DataError("There are no training rows.", hint="Give prompts and completions, chats, or texts.")
        return []

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Encode what is read and what has to be written. Raises DataError for a row that has nothing to learn."""
        examples = self._encode(rows, tokenizer, max_length) if rows else []
        for row, example in zip(rows, examples, strict=True):
            if not any(sequence.n_labels for sequence in example.sequences):
                raise DataError(f"A row has no token to learn: {str(row)[:80]}.", hint="Mend or remove it.")
        return examples

    @abstractmethod
    def _encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Example]:
        """Encode rows that are all of one form."""

    @abstractmethod
    def probe_sequence(self, input_ids: list[int]) -> TokenSequence:
        """Return tokens of a probe as a sequence with labels."""

    def lessons(self, examples: Sequence[Example]) -> list[Example]:
        """Return each sequence on its own."""
        return [Example(sequences=[sequence], row=example.row, is_truncated=example.is_truncated)
                for example in examples for sequence in example.sequences]

    def outputs(self, model_output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return each label's log-probability, and its logit less the largest one [B, T, 2].

        The model's logits are [1, N, V], of the N labelled tokens alone.
        """
        labels = inputs["labels"]
        where = labels != IGNORED
        logits, wanted = model_output.logits[0].float(), labels[where]
        outputs = torch.zeros(*labels.shape, 2, device=logits.device)
        own = logits.gather(-1, wanted[:, None])[:, 0]
        outputs[where] = torch.stack([-torch.nn.functional.cross_entropy(logits, wanted, reduction="none"),
                                      (own - logits.amax(dim=-1)).detach()], dim=-1)
        return outputs

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the mean cross entropy over the labelled tokens."""
        return -outputs[0][..., 0].sum() / max(1.0, self.loss_weight(examples))

    def loss_weight(self, examples: Sequence[Example]) -> float:
        """Return the number of labelled tokens."""
        return float(sum(sequence.n_labels for example in examples for sequence in example.sequences))

    def can_split(self, examples: Sequence[Example]) -> bool:
        """Say yes: each token has its own loss."""
        return True

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure the loss per token, its perplexity, and how many tokens would have been chosen."""
        n_tokens = int(self.loss_weight(examples))
        loss = -sum(float(output[..., 0].double().sum()) for own in outputs for output in own) / n_tokens
        n_right = sum(n_chosen(output, sequence) for own, example in zip(outputs, examples, strict=True)
                      for output, sequence in zip(own, example.sequences, strict=True))
        metrics = {"perplexity": math.exp(min(loss, LARGEST_LOSS)), "loss": loss, "token_accuracy": n_right / n_tokens}
        return Evaluation(metrics=metrics, n_rows=len(examples))

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return how likely a text was: its tokens and the sum of their log-probabilities. A `Generator` writes."""
        return {"log_probability": float(sum(output[..., 0].sum() for output in outputs)),
                "n_tokens": sum(sequence.n_labels for sequence in example.sequences)}

    def parse_row(self, row: Any) -> Row:
        """Accept a prompt, chat messages, or a mapping with one of them."""
        return parse_prompt(row, self.name)

    def encode_prompt(self, row: Row, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """Return the prompt's tokens as the base reads them. Raises PredictionError where there are none."""
        return encode_prompt(row, tokenizer)


def n_chosen(output: torch.Tensor, sequence: TokenSequence) -> int:
    """Return how many labelled tokens would have been chosen; output [T, 2] of one sequence."""
    return int(((output[:, 1] >= 0) & (torch.tensor(sequence.labels) != IGNORED)).sum())
