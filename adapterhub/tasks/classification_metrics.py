"""Figures that several tasks share: a per-class report by scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapterhub.tasks.task import ClassScore


def class_report(truth: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> list[ClassScore]:
    """Return precision, recall, F1 and support of each class, in the labels' order."""
    from sklearn.metrics import precision_recall_fscore_support  # half a second: not where nothing is measured

    columns = precision_recall_fscore_support(truth, predicted, labels=list(range(len(labels))), zero_division=0.0)
    return _lines(labels, columns)


def label_report(truth: "np.ndarray[Any, Any]", predicted: "np.ndarray[Any, Any]",
                 labels: Sequence[str]) -> list[ClassScore]:
    """Return the same for labels that do not exclude each other; both are [N, L] of booleans."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(truth, predicted, average=None, zero_division=0.0,
                                              labels=list(range(len(labels))))
    return _lines(labels, columns)


def macro_f1(report: Sequence[ClassScore]) -> float:
    """Return the unweighted mean F1 over the classes that occur."""
    return float(np.mean([line.f1 for line in report if line.support])) if report else 0.0


def _lines(labels: Sequence[str], columns: Sequence[Any]) -> list[ClassScore]:
    return [ClassScore(label=label, precision=float(p), recall=float(r), f1=float(f), support=int(s))
            for label, p, r, f, s in zip(labels, *columns, strict=True)]
