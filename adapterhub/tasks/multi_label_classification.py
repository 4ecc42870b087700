"""multi-label-classification: one text, or a pair of texts, gets every label that holds, or none.

In stock transformers: problem_type `multi_label_classification`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError
from adapterhub.tasks.classification_metrics import label_report, macro_f1
from adapterhub.tasks.rows import require_known
from adapterhub.tasks.sequence_head import SequenceHead
from adapterhub.tasks.subwords import encode_rows
from adapterhub.tasks.task import Evaluation, Example, Row

THRESHOLD = 0.5
"""Probability from which on a label holds: where each label's own cross entropy says yes."""


class MultiLabelClassification(SequenceHead):
    """Labels that do not exclude each other, by the architecture's own sequence-classification head."""

    name = "multi-label-classification"
    columns = Columns(required=("text", "labels"), optional=("text_pair",))
    metrics: tuple[str, ...] = ("micro_f1", "macro_f1", "exact_match")

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return the labels of training rows, sorted. Raises DataError where none is told from others."""
        labels = sorted({label for row in rows for label in row["labels"]})
        if not labels:
            raise DataError("No training row has a label.", hint='Give labels as lists: ["a", "b"].')
        if all(set(row["labels"]) == set(labels) for row in rows):
            raise DataError(f"All {len(rows)} training rows have the same labels: {', '.join(labels)[:120]}.",
                            hint="A classifier needs rows that differ in them; a row without any has [].")
        return labels

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Encode texts or pairs. Raises DataError for a label that training did not see."""
        require_known({label for row in rows for label in row.get("labels", ())}, labels)
        targets = [[float(label in row["labels"]) for label in labels] if "labels" in row else None for row in rows]
        return encode_rows(rows, targets, tokenizer, max_length)

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the mean binary cross entropy over rows and labels."""
        targets = torch.tensor([example.target for example in examples], device=outputs[0].device)  # [B, L]
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs[0].float(), targets)

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure F1 over all decisions, F1 per label, and the rows whose labels are all right."""
        from sklearn.metrics import f1_score  # half a second: not where nothing is measured

        truth = np.array([example.target for example in examples], dtype=bool)  # [N, L]
        predicted = np.array([(own[0].float().sigmoid() >= THRESHOLD).tolist() for own in outputs])
        report = label_report(truth, predicted, labels)
        metrics = {"micro_f1": float(f1_score(truth, predicted, average="micro", zero_division=0.0)),
                   "macro_f1": macro_f1(report), "exact_match": float((truth == predicted).all(axis=1).mean())}
        return Evaluation(metrics=metrics, n_rows=len(examples), reports={"per label": report})

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return the labels that hold, best first, and the three best scores."""
        scores = outputs[0].float().sigmoid()
        order = scores.argsort(descending=True).tolist()
        ranked = [{"label": labels[i], "score": float(scores[i])} for i in order]
        return {"labels": [line["label"] for line in ranked if line["score"] >= THRESHOLD], "top": ranked[:3]}
