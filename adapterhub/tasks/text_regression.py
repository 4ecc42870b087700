"""text-regression: one text, or a pair of texts, gets a number. In stock transformers: problem_type `regression`."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError
from adapterhub.tasks.regression_metrics import regression_report
from adapterhub.tasks.sequence_head import SequenceHead
from adapterhub.tasks.subwords import encode_rows
from adapterhub.tasks.task import Evaluation, Example, Row


class TextRegression(SequenceHead):
    """A number by the architecture's own sequence-classification head with one output, as it is, of any scale."""

    name = "text-regression"
    columns = Columns(required=("text", "score"), optional=("text_pair",))
    metrics: tuple[str, ...] = ("spearman", "pearson", "r2", "rmse", "mae")

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return the name of the one output. Raises DataError where every row has the same number."""
        if len({row["score"] for row in rows}) < 2:
            raise DataError(f"All {len(rows)} training rows have the score {rows[0]['score']:g}." if rows else
                            "There are no training rows.", hint="Regression needs rows of different scores.")
        return ["score"]

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Encode texts or pairs."""
        return encode_rows(rows, [row.get("score") for row in rows], tokenizer, max_length)

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the mean squared error."""
        targets = torch.tensor([example.target for example in examples], device=outputs[0].device)
        return torch.nn.functional.mse_loss(outputs[0].float().squeeze(-1), targets)

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure correlations and errors. Raises DataError where every right number is the same."""
        metrics = regression_report([float(own[0]) for own in outputs], [example.target for example in examples])
        return Evaluation(metrics=metrics, n_rows=len(examples))

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return the number."""
        return {"score": float(outputs[0])}
