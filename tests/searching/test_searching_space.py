"""The space: what `--space` and TOML may say, and one sentence for what they may not."""

from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from adapterhub.errors import AdapterHubError
from adapterhub.searching.space import Choice, Range, parse_space, with_params
from adapterhub.searching.study import suggest
from adapterhub.training.config import TrainConfig


def test_options_give_ranges_and_choices() -> None:
    found = parse_space(["learning_rate=1e-4:1e-2:log", "rank=4:16", "batch_size=16|32",
                         "targets=all-linear|query,value", "method=lora|dora"], {}).dimensions
    assert found == {
        "learning_rate": Range(low=1e-4, high=1e-2, is_log=True), "rank": Range(low=4, high=16, is_whole=True),
        "batch_size": Choice(values=(16, 32)), "targets": Choice(values=("all-linear", "query,value")),
        "method": Choice(values=("lora", "dora"))}


def test_table_gives_the_same_as_options_and_an_option_wins() -> None:
    table = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "rank": [4, 8],
             "dropout": {"low": 0, "high": 0.2}}
    by_table = parse_space([], table)
    assert by_table == parse_space(["learning_rate=1e-4:1e-2:log", "rank=4|8", "dropout=0:0.2"], {})
    assert parse_space(["rank=2|3"], table).dimensions["rank"] == Choice(values=(2, 3))
    assert parse_space(["rank=2|3"], table).dimensions["dropout"] == by_table.dimensions["dropout"]


def test_without_a_word_rate_rank_and_batch_are_searched() -> None:
    assert parse_space([], {}).dimensions.keys() == {"learning_rate", "rank", "batch_size"}


@pytest.mark.parametrize(("options", "table", "told"), [
    (["rate=1:2"], {}, "Unknown setting to search 'rate'"),
    (["learning_rate"], {}, "--space 'learning_rate' says no values"),
    (["learning_rate=1e-2:1e-4"], {}, "goes from 0.01 to 0.0001"),
    (["learning_rate=0:1e-2:log"], {}, "begins at 0, which has no logarithm"),
    (["learning_rate=1:2:3"], {}, "is no range"),
    (["learning_rate=a:b"], {}, "has 'a', expected a number"),
    (["rank=4|8.5"], {}, "has '8.5', expected a whole number"),
    (["rank=4|4"], {}, "has a choice twice: 4, 4"),
    (["method=lora|"], {}, "has an empty choice"),
    ([], {"rank": 8}, "space.rank is 8, which is neither"),
    ([], {"method": {"low": 1, "high": 2}}, "space.method is {'low': 1, 'high': 2}, which is neither"),
    ([], {"rank": {"low": 1}}, "space.rank is {'low': 1}, which is neither"),
])
def test_what_is_no_space_is_refused(options: list[str], table: dict[str, object], told: str) -> None:
    with pytest.raises(AdapterHubError) as caught:
        parse_space(options, table)
    assert told in str(caught.value)
    assert caught.value.hint or "known:" in str(caught.value)


@pytest.mark.parametrize(("option", "told"), [
    ("rank=0:8", "The space has rank 0: rank is 0, expected 1 to 256"),
    ("learning_rate=1e-3:10", "The space has learning_rate 10"),
    ("method=lora|full", "Method 'full' fine-tunes a whole model"),
    ("method=lora|nonesuch", "The space has method nonesuch: Unknown method 'nonesuch'"),
])
def test_values_that_no_run_can_have_are_told_before_the_first_trial(option: str, told: str) -> None:
    config = TrainConfig(task="text-classification", data="rows.csv", output=Path("out"))
    with pytest.raises(AdapterHubError) as caught:
        parse_space([option], {}).require_fit(config)
    assert told in str(caught.value)


def test_a_method_without_ranks_fits_beside_one_that_has_them() -> None:
    config = TrainConfig(task="text-classification", data="rows.csv", output=Path("out"), rank=4)
    parse_space(["method=lora|ia3", "rank=2|4"], {}).require_fit(config)


def test_a_rate_of_the_head_is_left_out_for_the_method_that_has_rates_of_its_own() -> None:
    config = TrainConfig(task="text-classification", data="rows.csv", output=Path("out"), head_learning_rate=1e-2)
    space = parse_space(["method=loraplus|lora", "head_learning_rate=1e-3|5e-3"], {})
    space.require_fit(config)
    assert with_params(config, {"method": "loraplus"}).head_learning_rate is None
    params = suggest(FixedTrial({"method": "loraplus", "head_learning_rate": 1e-3}), space, config)
    assert params == {"method": "loraplus"}
    assert with_params(config, params).method == "loraplus"
    assert "head_learning_rate" in suggest(FixedTrial({"method": "lora", "head_learning_rate": 1e-3}), space, config)
