"""How answers that are labels are read: one label for a row, or all that hold."""

from collections.abc import Sequence

import numpy as np
import torch

from adapterhub.reporting.figures import Figure, Numbers, f1, macro_f1, mean_share, one_hot, share
from adapterhub.reporting.measured import Measured
from adapterhub.reporting.reading import Certainty, Choices, JudgedRow, Reading
from adapterhub.tasks.multi_label_classification import THRESHOLD
from adapterhub.tasks.text_classification import OUT_OF_SCOPE_LABELS


def read_classes(measured: Measured) -> Reading:
    """Read one label per row."""
    labels, truth = measured.labels, [int(example.target) for example in measured.examples]
    scores = torch.stack([own[0].float() for own in measured.outputs]).softmax(dim=-1)  # [N, L]
    confidence, best = scores.max(dim=-1)
    answered = best.tolist()
    is_right = np.array(truth) == np.array(answered)
    rows = [JudgedRow(text=text_of(example.row), right=labels[t], answered=labels[a], is_right=t == a,
                      note=f"{c:.0%} sure", weight=c)
            for example, t, a, c in zip(measured.examples, truth, answered, confidence.tolist(), strict=True)]
    return Reading(
        figures=_class_figures(truth, answered, labels), rows=rows,
        certainty=Certainty(row=np.arange(len(truth)), confidence=confidence.numpy().astype(float),
                            is_right=is_right.astype(float)),
        choices=Choices(labels=labels, truth=truth, answered=answered))


def read_label_sets(measured: Measured) -> Reading:
    """Read every label of each row; a decision is one row's yes or no to one label."""
    labels = measured.labels
    truth = np.array([example.target for example in measured.examples], dtype=bool)  # [N, L]
    scores = torch.stack([own[0].float() for own in measured.outputs]).sigmoid().numpy().astype(float)
    found = scores >= THRESHOLD
    sure = np.maximum(scores, 1 - scores)
    wrongest = np.where(found != truth, sure, 0).max(axis=1)
    figures: dict[str, Figure] = {
        "micro_f1": f1((truth & found).sum(axis=1), found.sum(axis=1), truth.sum(axis=1)),
        "macro_f1": macro_f1(truth, found), "exact_match": mean_share((truth == found).all(axis=1).astype(float))}
    rows = [JudgedRow(text=text_of(example.row), right=_names(labels, t), answered=_names(labels, f),
                      is_right=bool((t == f).all()), note=f"{w:.0%} sure of a wrong decision" if w else "", weight=w)
            for example, t, f, w in zip(measured.examples, truth, found, wrongest.tolist(), strict=True)]
    certainty = Certainty(row=np.repeat(np.arange(len(truth)), len(labels)), confidence=sure.ravel(),
                          is_right=(found == truth).ravel().astype(float))
    return Reading(figures=figures, rows=rows, certainty=certainty)


def text_of(row: object) -> str:
    """Return a row's text, or its pair of texts."""
    assert isinstance(row, dict), "rows are mappings from fields"
    return " | ".join(str(row[field]) for field in ("text", "text_pair") if row.get(field))


def _class_figures(truth: Sequence[int], answered: Sequence[int], labels: Sequence[str]) -> dict[str, Figure]:
    is_right: Numbers = (np.array(truth) == np.array(answered)).astype(float)
    figures: dict[str, Figure] = {
        "accuracy": mean_share(is_right),
        "macro_f1": macro_f1(one_hot(truth, len(labels)), one_hot(answered, len(labels)))}
    for i, label in enumerate(labels):
        outside = np.array([t == i for t in truth], dtype=float)
        if label in OUT_OF_SCOPE_LABELS and 0 < outside.sum() < len(truth):
            figures["in_scope_accuracy"] = share(is_right * (1 - outside), 1 - outside)
            figures["out_of_scope_recall"] = share(is_right * outside, outside)
    return figures


def _names(labels: Sequence[str], chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> str:
    return ", ".join(label for label, is_in in zip(labels, chosen, strict=True) if is_in) or "none"
