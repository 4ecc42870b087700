"""A threshold keeps what it promises on the rows that chose it, and is the lowest that does."""

import random

import pytest

from adapterhub.errors import DataError
from scripts.scenarios.choosing import least_confidence


def share_right(confidences: list[float], is_right: list[bool], threshold: float) -> float:
    kept = [right for confidence, right in zip(confidences, is_right, strict=True) if confidence >= threshold]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("seed", range(20))
def test_threshold_is_the_lowest_confidence_that_keeps_the_precision(seed: int) -> None:
    generator = random.Random(seed)
    confidences = [round(generator.random(), 1) for _ in range(40)]  # one digit: many are equal
    is_right = [generator.random() < confidence for confidence in confidences]
    keeping = [value for value in confidences if share_right(confidences, is_right, value) >= 0.8]
    assert keeping  # with these seeds
    assert least_confidence(confidences, is_right, precision=0.8) == min(keeping)


def test_rows_that_are_all_wrong_are_refused_in_one_sentence() -> None:
    with pytest.raises(DataError, match=r"validation rows .* fewer than 95% .* more --rows"):
        least_confidence([0.9, 0.8], [False, False], precision=0.95)
