"""text-classification: one text, or a pair of texts, gets one label."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from adapterhub.data.columns import Columns
from adapterhub.errors import DataError, PredictionError
from adapterhub.tasks.classification_metrics import class_report, macro_f1
from adapterhub.tasks.subwords import encode_rows
from adapterhub.tasks.task import Evaluation, Example, Row

OUT_OF_SCOPE_LABELS = ("oos", "out_of_scope", "out-of-scope")
"""Labels that mean 'none of the others'; where one is present, it is also measured apart."""


class TextClassification:
    """Single-label classification with the architecture's own sequence-classification head."""

    name = "text-classification"
    columns = Columns(required=("text", "label"), optional=("text_pair",))
    auto_class = AutoModelForSequenceClassification
    peft_task_type = "SEQ_CLS"
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    stratify_by: str | None = "label"
    has_stretches = False

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

    def lessons(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples: each is learned as a whole."""
        return list(examples)

    def outputs(self, model_output: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the logits [B, L]."""
        logits: torch.Tensor = model_output.logits
        return logits

    def loss(self, outputs: list[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
        """Return the cross entropy."""
        targets = torch.tensor([example.target for example in examples], device=outputs[0].device)
        return torch.nn.functional.cross_entropy(outputs[0].float(), targets)

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

    def parse_row(self, row: Any) -> Row:
        """Accept a text, a pair of texts, or a mapping with `text` and, for pairs, `text_pair`."""
        return parse_text_row(row, self.name)


def parse_text_row(row: Any, task: str) -> Row:
    """Accept a text, a pair of texts, or a mapping with `text` and `text_pair`. Raises PredictionError."""
    if isinstance(row, str):
        row = {"text": row}
    elif isinstance(row, (list, tuple)) and len(row) == 2:
        row = {"text": row[0], "text_pair": row[1]}
    return require_texts(row, task, ("text",), ("text_pair",))


def require_known(found: set[str], labels: Sequence[str]) -> None:
    """Raise DataError for labels that training did not see."""
    if unknown := sorted(found - set(labels)):
        raise DataError(f"Labels {unknown[:5]} are not among the adapter's {len(labels)} labels.",
                        hint=f"It knows {', '.join(list(labels)[:8])}{' ...' if len(labels) > 8 else ''}.")


def require_texts(row: Any, task: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Row:
    """Return the named texts of a row. Raises PredictionError where one is missing, empty or no text."""
    if not isinstance(row, dict):
        raise PredictionError(f"A row for {task} must be a text or a mapping, found {type(row).__name__}.",
                              hint=f"Give {' and '.join(required)}.")
    kept = {name: row[name] for name in (*required, *optional) if name in row}
    for name in (*required, *kept):
        if not isinstance(kept.get(name), str) or not kept[name].strip():
            raise PredictionError(f"A row for {task} has no {name}: {str(row)[:80]}.",
                                  hint=f"Give {' and '.join(required)} as texts that are not empty.")
    return kept


def _share_right(truth: Sequence[int], predicted: Sequence[int], chosen: Sequence[bool]) -> float:
    right = [t == p for t, p, is_in in zip(truth, predicted, chosen, strict=True) if is_in]
    return sum(right) / len(right)
