"""An alert is rare in quiet streams, comes in a surge, and is measured on streams that are as they are said to be."""

import random

import pytest

from scripts.scenarios.surges import (
    FALSE_ALERTS,
    N_STREAMS,
    SURGE_NEGATIVES,
    Plan,
    arrange,
    choose_threshold,
    first_alert,
    measure_alert,
    rolling_counts,
)

PLAN = Plan(n_headlines=200)
TRUTHS = [place % 4 == 0 for place in range(120)]  # a quarter is negative


def test_rolling_counts_are_the_sums_of_the_last_ones() -> None:
    generator = random.Random(1)
    negatives = [generator.random() < 0.5 for _ in range(50)]
    assert rolling_counts(negatives, 7) == [sum(negatives[max(0, i - 6):i + 1]) for i in range(50)]


def test_few_quiet_streams_raise_an_alert() -> None:
    threshold = choose_threshold(TRUTHS, PLAN, seed=0)
    generator = random.Random(99)
    streams = [generator.choices(TRUTHS, k=PLAN.n_headlines) for _ in range(N_STREAMS)]
    n_alerts = sum(first_alert(stream, threshold, PLAN) is not None for stream in streams)
    assert n_alerts <= 2 * FALSE_ALERTS * N_STREAMS  # other streams than those that chose it
    n_lower = sum(first_alert(stream, threshold - 1, PLAN) is not None for stream in streams)
    assert n_lower > FALSE_ALERTS * N_STREAMS  # one less would raise more than it may


def test_surge_has_its_share_of_negatives_and_the_rest_has_the_usual_one() -> None:
    order = arrange(TRUTHS, PLAN, random.Random(0))
    assert len(order) == PLAN.n_headlines
    surge = [TRUTHS[order[place]] for place in PLAN.surge]
    assert sum(surge) == round(SURGE_NEGATIVES * len(PLAN.surge))
    quiet = [TRUTHS[order[place]] for place in range(PLAN.n_headlines) if place not in PLAN.surge]
    assert sum(quiet) / len(quiet) == pytest.approx(0.25, abs=0.1)


def test_alert_comes_in_the_surge_where_the_model_is_right() -> None:
    found = measure_alert(TRUTHS, TRUTHS, choose_threshold(TRUTHS, PLAN, seed=0), PLAN, seed=1)
    assert sum(found.caught) > 0.85 * found.n_streams
    assert all(0 <= delay < len(PLAN.surge) for delay in found.delays)
    assert len(found.delays) == sum(found.caught)


def test_model_that_sees_no_negative_raises_no_alert() -> None:
    found = measure_alert([False] * len(TRUTHS), TRUTHS, 3, PLAN, seed=1)
    assert not any(found.caught) and not any(found.too_early) and not found.delays
