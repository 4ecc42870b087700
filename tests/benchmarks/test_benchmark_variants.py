"""The benchmark of other settings: each is one arm at one rate, and compared seed by seed."""

import pytest
from benchmark_results import figures_with

from adapterhub.costs.arms import rates_on
from adapterhub.costs.results import Result
from adapterhub.costs.suites import TEXT_TASKS
from benchmarks.variants import VARIANTS, Variant, figures_of

PLAIN = Variant(task="t", name="other", rate=1e-3, more={})


def result_of(arm: str, seed: int, value: float) -> Result:
    return Result(task="t", settings={"task": "text-classification"}, machine={}, versions={}, created_at="",
                  figures=figures_with(arm, seed, value))


def test_a_difference_is_that_of_equal_seeds() -> None:
    ours = [result_of("other", 0, 0.9), result_of("other", 2, 0.8)]
    full = [result_of("full", 0, 0.85), result_of("full", 1, 0.1), result_of("full", 2, 0.7)]
    own, less = figures_of(PLAIN, ours, full)
    assert (own.value, own.n_runs) == (pytest.approx(85.0), 2)
    assert (less.value, less.n_runs) == (pytest.approx(7.5), 2)


def test_without_full_fine_tuning_nothing_is_compared() -> None:
    assert len(figures_of(PLAIN, [result_of("other", 0, 0.9)], [])) == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.task}-{variant.name}")
def test_a_variant_learns_a_task_of_the_suite_at_its_own_rate(variant: Variant) -> None:
    task = next(task for task in TEXT_TASKS if task.name == variant.task)
    assert rates_on(variant.arm, task.task) == (variant.rate,)
