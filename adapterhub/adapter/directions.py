"""Which way a metric is better: of errors less, of all others more."""

LOWER_IS_BETTER = frozenset({"rmse", "mae", "loss", "perplexity", "ece"})
"""Metrics of errors."""


def is_better(metric: str, value: float, than: float) -> bool:
    """Say whether one figure of a metric is better than another."""
    return value < than if metric in LOWER_IS_BETTER else value > than
