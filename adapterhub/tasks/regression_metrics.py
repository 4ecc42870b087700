"""Figures of predicted numbers: correlations by scipy, errors by scikit-learn. It knows no task and no model."""

from collections.abc import Sequence

import numpy as np

from adapterhub.errors import DataError


def spearman(predicted: Sequence[float], truth: Sequence[float]) -> float:
    """Return the correlation of ranks; 0 where every prediction is the same. Raises DataError where the truth is."""
    from scipy.stats import spearmanr  # half a second: not where nothing is measured

    _require_differences(truth)
    return float(spearmanr(predicted, truth).statistic) if len(set(predicted)) > 1 else 0.0


def regression_report(predicted: Sequence[float], truth: Sequence[float]) -> dict[str, float]:
    """Return spearman, pearson, r2, rmse and mae. Raises DataError where every right number is the same."""
    from scipy.stats import pearsonr
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    ranks = spearman(predicted, truth)
    varies = float(np.ptp(predicted)) > 1e-6 * max(1.0, float(np.abs(predicted).max()))  # else scipy finds it no number
    return {"spearman": ranks, "pearson": float(pearsonr(predicted, truth).statistic) if varies else 0.0,
            "r2": float(r2_score(truth, predicted)), "rmse": float(root_mean_squared_error(truth, predicted)),
            "mae": float(mean_absolute_error(truth, predicted))}


def _require_differences(truth: Sequence[float]) -> None:
    if len(set(truth)) < 2:
        raise DataError(f"All {len(truth)} rows measured have the score {truth[0]:g}, so none can be ranked.",
                        hint="Give rows of different scores, or leave the scores out.")
