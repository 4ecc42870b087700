"""Thresholds, chosen on validation rows alone: how sure an answer must be so that given answers are right."""

from collections.abc import Sequence

from adapterhub.errors import DataError


def least_confidence(confidences: Sequence[float], is_right: Sequence[bool], *, precision: float) -> float:
    """Return the lowest confidence from which on at least `precision` of the rows are right.

    All rows at or above the threshold count, equal confidences together. Raises DataError where there is none.
    """
    ranked = sorted(zip(confidences, is_right, strict=True), key=lambda pair: -pair[0])
    threshold, n_right = None, 0
    for n_kept, (confidence, right) in enumerate(ranked, start=1):
        n_right += right
        is_last_of_equals = n_kept == len(ranked) or ranked[n_kept][0] < confidence
        if is_last_of_equals and n_right >= precision * n_kept:
            threshold = confidence
    if threshold is None:
        raise DataError(f"However sure the answers to {len(ranked)} validation rows are, fewer than {precision:.0%} of "
                        "them are right.", hint="Give more --rows.")
    return threshold
