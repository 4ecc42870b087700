"""PEFT's configuration is understood as PEFT understands it."""

import json
from pathlib import Path
from typing import Any

import pytest
from adapter_folders import peft_config

from adapterhub.adapter.peft_config import PeftConfig, parse_peft_config
from adapterhub.errors import InvalidFolder


def parsed(**fields: Any) -> PeftConfig:
    return parse_peft_config(json.dumps(peft_config() | fields).encode(), Path("a"))


def test_scaling_is_alpha_over_rank() -> None:
    assert parsed(r=4, lora_alpha=8).scaling_of("query") == 2.0


def test_rslora_scales_by_the_root_of_the_rank() -> None:
    assert parsed(r=4, lora_alpha=8, use_rslora=True).scaling_of("query") == 4.0


def test_patterns_give_a_module_its_own_rank_and_alpha() -> None:
    config = parsed(r=2, lora_alpha=4, rank_pattern={"layer.1.query": 8}, alpha_pattern={"layer.1.query": 16})
    assert (config.rank_of("layer.0.query"), config.rank_of("bert.layer.1.query")) == (2, 8)
    assert (config.scaling_of("layer.0.query"), config.scaling_of("bert.layer.1.query")) == (2.0, 2.0)


@pytest.mark.parametrize(("targets", "module", "expected"), [
    (["query"], "layer.0.query", True),
    (["query"], "query", True),
    (["query"], "layer.0.subquery", False),
    (r".*\.query", "layer.0.query", True),
    (r".*\.query", "layer.0.query.x", False),
])
def test_targets_match_as_peft_matches_them(targets: list[str] | str, module: str, expected: bool) -> None:
    assert parsed(target_modules=targets).has_target(module) is expected


@pytest.mark.parametrize(("place", "shown"), [
    ("out/loha", "./out/loha"), ("../loha", "./../loha"), ("/a/loha", "/a/loha"), ("a/loha@3", "a/loha@3")])
def test_command_that_converts_names_a_folder_so_that_no_reference_is_meant(place: str, shown: str) -> None:
    with pytest.raises(InvalidFolder) as caught:
        parse_peft_config(json.dumps(peft_config() | {"peft_type": "LOHA"}).encode(), Path(place))
    assert f"adapterhub convert {shown} --rank 16 " in caught.value.hint
