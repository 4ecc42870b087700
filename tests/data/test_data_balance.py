"""Rare labels made to count: weights as scikit-learn's formula says, and rows drawn again by a seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.data.balance import oversample, require_weights, weights_of
from adapterhub.errors import InvalidConfig, UnknownName


def test_balanced_weights_give_every_label_the_same_say() -> None:
    counts = {"a": 60, "b": 30, "c": 10}
    weights = weights_of("balanced", counts, ["a", "b", "c"])
    says = [weight * counts[label] for weight, label in zip(weights, "abc", strict=True)]
    assert says == pytest.approx([100 / 3] * 3)


def test_a_label_that_no_row_has_weighs_one() -> None:
    assert weights_of("balanced", {"O": 30, "B-X": 10}, ["O", "B-X", "I-X"]) == pytest.approx([40 / 60, 2.0, 1.0])


def test_given_weights_hold_for_labels_and_for_both_tags_of_a_type() -> None:
    assert weights_of({"X": 3.0, "O": 0.5}, {}, ["O", "B-X", "I-X", "B-Y", "I-Y"]) == [0.5, 3.0, 3.0, 1.0, 1.0]


def test_a_weight_for_no_label_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"Unknown label in class_weights 'c'; known: a, b\."):
        weights_of({"c": 2.0}, {}, ["a", "b"])


@pytest.mark.parametrize("wish", ["balance", {"a": 0.0}, {"a": float("inf")}, {"a": float("nan")}])
def test_weights_that_make_no_sense_are_refused(wish: str | dict[str, float]) -> None:
    with pytest.raises(InvalidConfig, match=r"expected (balanced or|a number above 0)"):
        require_weights(wish)


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(0, 99))
def test_drawn_rows_stand_as_often_as_the_largest_label(labels: list[str], seed: int) -> None:
    places = oversample(labels, seed=seed)
    counts = Counter(labels[i] for i in places)
    assert set(counts.values()) <= {max(Counter(labels).values(), default=0)}
    assert places[:len(labels)] == list(range(len(labels)))
    assert places == oversample(labels, seed=seed)
