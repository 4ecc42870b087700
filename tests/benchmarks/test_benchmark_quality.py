"""The benchmark of quality: what counts as equal to full fine-tuning."""

import pytest
from benchmark_results import figures_with

from adapterhub.costs.results import Result
from benchmarks.quality import figures_of


def results_of(full: list[float], adapter: list[float]) -> list[Result]:
    return [Result(task="t", settings={"task": "text-classification"}, machine={}, versions={}, created_at="",
                   figures=figures_with(arm, seed, value))
            for arm, values in (("full", full), ("lora-r8", adapter)) for seed, value in enumerate(values)]


@pytest.mark.parametrize(("adapter", "limit", "is_met"), [
    ([0.910, 0.911, 0.912], 0.0, True),  # better beyond chance
    ([0.885, 0.905, 0.905], -0.5, True),  # a sixth of a point below, which seeds alone may give
    ([0.880, 0.905, 0.865], -0.5, False),  # chance too, but two points below
    ([0.8962, 0.8961, 0.8963], 0.0, False),  # below by less than half a point, and no chance
])
def test_adapter_may_lie_below_by_chance_and_half_a_point_alone(adapter: list[float], limit: float,
                                                               is_met: bool) -> None:
    less = figures_of(results_of([0.9, 0.9, 0.9], adapter), "t")[-1]
    assert (less.name, less.n_runs, less.at_least, less.is_met) == ("t, lora-r8 less full", 3, limit, is_met)


def test_one_seed_is_held_to_nothing() -> None:
    assert figures_of(results_of([0.9], [0.5]), "t")[-1].is_met is None
