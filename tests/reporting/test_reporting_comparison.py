"""Several adapters on the same rows: differences that are larger than chance are told from those that are not."""

import pytest
from invented import invented
from scipy.stats import binomtest

from adapterhub.errors import InvalidConfig
from adapterhub.reporting.comparison import compare


def test_a_better_adapter_is_told_and_a_like_one_is_not() -> None:
    strong, weak, like = (invented("text-classification", 200, seed=seed, name=name, skill=skill)
                          for seed, name, skill in ((1, "strong", 4.0), (2, "weak", 1.0), (3, "like", 4.0)))
    found = {(own.first, own.second): own for own in compare([strong, weak, like]).differences
             if own.metric == "accuracy"}
    assert found["strong", "weak"].better == "strong"
    assert found["weak", "like"].better == "like"
    assert found["strong", "like"].better is None
    assert found["strong", "like"].difference.interval.spans_zero


def test_of_errors_the_smaller_is_better() -> None:
    near, far = (invented("text-regression", 150, seed=seed, name=name, skill=skill)
                 for seed, name, skill in ((1, "near", 5.0), (2, "far", 0.5)))
    found = {own.metric: own for own in compare([near, far]).differences}
    assert found["rmse"].difference.value < 0
    assert (found["rmse"].better, found["spearman"].better) == ("near", "near")
    assert compare([near, far]).mcnemar == []


def test_mcnemar_counts_rows_that_only_one_has_right() -> None:
    first, second = (invented("text-classification", 80, seed=seed, name=str(seed)) for seed in (1, 2))
    found = compare([first, second])
    right = [[int(own[0].argmax()) == example.target for own, example in zip(one.outputs, one.examples, strict=True)]
             for one in (first, second)]
    pairs = list(zip(*right, strict=True))
    only = pairs.count((True, False)), pairs.count((False, True))
    assert (found.mcnemar[0].only_first, found.mcnemar[0].only_second) == only
    assert found.mcnemar[0].p_value == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    accuracies = [own.metrics["accuracy"] for own in found.findings]
    assert accuracies[0] - accuracies[1] == pytest.approx((only[0] - only[1]) / 80)


def test_an_adapter_never_differs_from_itself() -> None:
    found = compare([invented("question-answering", name="a"), invented("question-answering", name="b")])
    assert {own.better for own in found.differences} == {None}
    assert found.mcnemar[0].p_value == 1.0


def test_adapters_of_two_tasks_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"different tasks \(question-answering, text-regression\)"):
        compare([invented("text-regression"), invented("question-answering")])
