"""text-classification: one text, or a pair of texts, gets one label."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError
from adapterhub.tasks.class_weights import as_tensor
from adapterhub.tasks.classification_metrics import class_report, macro_f1
from adapterhub.tasks.rows import require_known
from adapterhub.tasks.sequence_head import SequenceHead
from adapterhub.tasks.subwords import encode_rows
from adapterhub.tasks.task import Evaluation, Example, Row

OUT_OF_SCOPE_LABELS = ("oos", "out_of_scope", "out-of-scope")
"""Labels that mean 'none of the others'; where one is present, it is also measured apart."""


class TextClassification(SequenceHead):
    """Single-label classification with the architecture's own sequence-classification head."""

    name = "text-classification"
    columns = Columns(required=("text", "label"), optional=("text_pair",))
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    stratify_by: str | None = "label"
    class_weights: tuple[float, ...] | None = None
    """How much each label counts in the loss, in the order of the labels; None: all the same."""

    def labels_of(self, rows: Sequence[Row]) -> list[str]:
        """Return the labels of training rows, sorted. Raises DataError where there is only one."""
        labels = sorted({row["label"] for row in rows})
        if len(labels) < 2:
            raise DataError(f"All {len(rows)} training rows have the label {labels[0]!r}." if labels else
                            "There are no training rows.", hint="A classifier needs rows of at least two labels.")
        return labels

    def encode(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: Sequence[str],
               max_length: int) -> list[Example]:
        """Encode texts or pairs. Raises DataError for a label that training did not see."""
        require_known({row["label"] for row in rows if "label" in row}, labels)
        index = {label: i for i, label in enumerate(labels)}
        return encode_rows(rows, [index.get(row.get("label", "")) for row in rows], tokenizer, max_length)

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the cross entropy."""
        targets = torch.tensor([example.target for example in examples], device=outputs[0].device)
        weights = as_tensor(self.class_weights, targets.device)
        return torch.nn.functional.cross_entropy(outputs[0].float(), targets, weight=weights)

    def loss_weight(self, examples: Sequence[Example]) -> float:
        """Return the number of rows, or the sum of their labels' weights."""
        weights = self.class_weights
        return float(len(examples)) if weights is None else sum(weights[example.target] for example in examples)

    def evaluate(self, outputs: Sequence[list[torch.Tensor]], examples: Sequence[Example],
                 labels: Sequence[str]) -> Evaluation:
        """Measure accuracy, macro F1 and each class; out-of-scope apart where there is such a label."""
        from sklearn.metrics import accuracy_score  # half a second: not where nothing is measured

        truth = [example.target for example in examples]
        predicted = [int(logits[0].argmax()) for logits in outputs]
        report = class_report(truth, predicted, labels)
        metrics = {"accuracy": float(accuracy_score(truth, predicted)), "macro_f1": macro_f1(report)}
        for i, label in enumerate(labels):
            if label in OUT_OF_SCOPE_LABELS and i in truth and set(truth) != {i}:
                metrics["in_scope_accuracy"] = _share_right(truth, predicted, [t != i for t in truth])
                metrics["out_of_scope_recall"] = _share_right(truth, predicted, [t == i for t in truth])
        return Evaluation(metrics=metrics, n_rows=len(examples), reports={"per class": report})

    def decode(self, outputs: list[torch.Tensor], example: Example, labels: Sequence[str]) -> dict[str, Any]:
        """Return the best label and the three best scores."""
        scores = torch.softmax(outputs[0].float(), dim=-1)
        best = scores.topk(min(3, len(labels)))
        top = [{"label": labels[int(i)], "score": float(score)} for score, i in zip(*best, strict=True)]
        return {**top[0], "top": top}


def _share_right(truth: Sequence[int], predicted: Sequence[int], chosen: Sequence[bool]) -> float:
    right = [t == p for t, p, is_in in zip(truth, predicted, chosen, strict=True) if is_in]
    return sum(right) / len(right)
