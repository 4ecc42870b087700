"""Settings are checked once, with the value and the range told."""

from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.training.config import LEAST_EPOCHS, LEAST_STEPS, MOST_EPOCHS, TrainConfig


def config(**fields: Any) -> TrainConfig:
    return TrainConfig(**({"task": "text-classification", "data": "rows.csv", "output": Path("out")} | fields))


@pytest.mark.parametrize(("name", "value"), [
    ("rank", 0), ("rank", 257), ("alpha", 0.0), ("alpha", float("nan")), ("dropout", -0.1), ("dropout", 1.0),
    ("epochs", 0), ("epochs", 1001), ("batch_size", 0), ("max_length", 2), ("patience", 0), ("warmup", 1.0),
    ("learning_rate", 0.0), ("learning_rate", float("nan")), ("learning_rate", 2.0), ("head_learning_rate", 0.0),
    ("weight_decay", -1.0),
    ("max_grad_norm", 0.0), ("seed", -1)])
def test_value_outside_its_range_is_told_with_the_range(name: str, value: float) -> None:
    option = name.replace("_", "-")
    with pytest.raises(InvalidConfig, match=rf"{name} is {value}, expected \S+ to \S+\. Give --{option}"):
        config(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("method", "lorra"), ("dtype", "float8")])
def test_unknown_name_lists_those_there_are(name: str, value: str) -> None:
    with pytest.raises(UnknownName, match=f"Unknown {name} {value!r}; known: "):
        config(**{name: value})


@pytest.mark.parametrize("fractions", [(0.0, 0.5, 0.5), (0.7, -0.1, 0.4), (0.7, 0.3), (1.5, 0.0, 0.0)])
def test_fractions_that_are_no_three_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InvalidConfig, match="expected the shares of train, validation and test"):
        config(fractions=fractions)


@pytest.mark.parametrize(("targets", "names"), [
    ("all-linear", ("all-linear",)), ("query", ("query",)), ("query, value", ("query", "value")),
    (("query", "output.dense"), ("query", "output.dense"))])
def test_targets_are_names_one_by_one(targets: str | tuple[str, ...], names: tuple[str, ...]) -> None:
    assert config(targets=targets).target_names == names


@pytest.mark.parametrize("targets", ["", " , ", ()])
def test_no_target_is_refused(targets: str | tuple[str, ...]) -> None:
    with pytest.raises(InvalidConfig, match="targets names no layer"):
        config(targets=targets)


def test_defaults_follow_method_and_rank() -> None:
    assert (config().rate, config(method="full").rate) == (2e-3, 1e-4)
    assert (config(rank=16).scaled_alpha, config(alpha=3.0).scaled_alpha) == (32.0, 3.0)


def test_raw_head_of_a_tagger_has_a_rate_of_its_own() -> None:
    tags = {"task": "token-classification"}
    assert (config().head_rate, config(learning_rate=3e-4).head_rate) == (2e-3, 3e-4)
    assert (config(**tags).rate, config(**tags).head_rate, config(**tags, learning_rate=3e-4).head_rate) == (
        1e-3, 5e-3, 5e-3)
    assert config(**tags, head_learning_rate=2e-4).head_rate == 2e-4
    assert config(**tags, continue_from=Path("trained")).head_rate == 1e-3, "it is not raw any more"
    assert config(**tags, method="full").head_rate == 1e-4
    assert config(**tags, method="loraplus").head_rate == config(**tags, method="loraplus").rate
    with pytest.raises(InvalidConfig, match="head_learning_rate does not go with method 'loraplus'"):
        config(method="loraplus", head_learning_rate=1e-3)


@pytest.mark.parametrize("n_rows", [1, 40, 200, 400, 1000, 5000, 100_000])
def test_few_rows_get_more_epochs_within_bounds(n_rows: int) -> None:
    plan = config().plan_for(n_rows)
    assert plan.batch_size == (16 if n_rows < 1000 else 32)
    assert plan.n_steps == plan.n_epochs * -(-n_rows // plan.batch_size)
    assert LEAST_EPOCHS <= plan.n_epochs <= MOST_EPOCHS
    assert plan.n_steps >= LEAST_STEPS or plan.n_epochs == MOST_EPOCHS
    assert plan.n_epochs == LEAST_EPOCHS or plan.n_steps - plan.steps_per_epoch < LEAST_STEPS


def test_epochs_and_batch_size_that_are_given_are_kept() -> None:
    plan = config(epochs=3, batch_size=4).plan_for(10)
    assert (plan.n_epochs, plan.batch_size, plan.n_steps) == (3, 4, 9)


def test_what_decides_the_result_is_told_as_plain_values() -> None:
    told = config(targets=("query", "value"), epochs=4).hyperparameters()
    assert told["targets"] == "query,value"
    assert told["epochs"] == 4
    assert all(value is None or isinstance(value, str | int | float | bool) for value in told.values())
