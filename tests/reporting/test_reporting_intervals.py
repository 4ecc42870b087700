"""Intervals: seeded, as wide as theory says, never nothing where every row is right; differences are paired."""

import numpy as np
import pytest
from scipy.stats import binom

from adapterhub.reporting.figures import mean_share
from adapterhub.reporting.intervals import differences, intervals


def test_interval_of_a_share_is_as_wide_as_the_binomial_says() -> None:
    is_right = np.array([1.0] * 320 + [0.0] * 80)
    found = intervals({"accuracy": mean_share(is_right)}, 400)["accuracy"]
    low, high = (binom.ppf(q, 400, 0.8) / 400 for q in (0.025, 0.975))
    assert found == pytest.approx((low, high), abs=0.005)


def test_interval_holds_the_truth_about_95_times_in_a_hundred() -> None:
    rng = np.random.default_rng(1)
    held = [low <= 0.7 <= high for low, high in
            (intervals({"a": mean_share((rng.random(80) < 0.7).astype(float))}, 80)["a"] for _ in range(200))]
    assert 0.88 <= np.mean(held) <= 0.99


def test_same_rows_give_the_same_interval() -> None:
    figure = mean_share((np.arange(50) % 3 > 0).astype(float))
    assert intervals({"a": figure}, 50) == intervals({"a": figure}, 50)
    assert intervals({"a": figure}, 50) != intervals({"a": figure}, 50, seed=1)


def test_all_rows_right_is_no_proof_that_none_can_be_wrong() -> None:
    low, high = intervals({"a": mean_share(np.ones(30))}, 30)["a"]
    assert (low, high) == pytest.approx((0.8865, 1.0), abs=1e-3)  # Wilson: 1 / (1 + 3.8415 / 30)


def test_one_row_has_no_interval() -> None:
    assert intervals({"a": mean_share([1.0])}, 1) == {}
    assert differences({"a": mean_share([1.0])}, {"a": mean_share([0.0])}, 1) == {}


def test_pairing_sees_a_difference_that_two_intervals_alone_hide() -> None:
    """Both are right on about half of the rows, the second on eight rows more, all else alike."""
    first = (np.arange(400) % 2).astype(float)
    second = first.copy()
    second[:16] = 1.0
    found = differences({"a": mean_share(second)}, {"a": mean_share(first)}, 400)["a"]
    assert found.value == pytest.approx(0.02)
    assert found.interval.low > 0
    assert found.p_value < 0.01
    apart = [intervals({"a": mean_share(own)}, 400)["a"] for own in (first, second)]
    assert apart[0].high > apart[1].low


def test_no_difference_spans_zero_with_p_one() -> None:
    figure = mean_share((np.arange(40) % 2).astype(float))
    found = differences({"a": figure}, {"a": figure}, 40)["a"]
    assert (found.value, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)
    assert found.interval.spans_zero


def test_only_shared_figures_are_compared() -> None:
    figure = mean_share(np.array([1.0, 0.0]))
    assert differences({"a": figure, "b": figure}, {"b": figure}, 2).keys() == {"b"}
