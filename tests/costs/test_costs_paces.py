"""Times of arms that ran hours apart are those of one round, in which each takes its steps beside the yardstick's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterhub.costs import paces
from adapterhub.costs.arms import find_arm
from adapterhub.costs.paces import Pace, Paces, at_pace, measure_paces, paces_of, time_arms
from adapterhub.costs.report import Compared, write_report
from adapterhub.costs.results import Result
from adapterhub.costs.suites import Suite
from adapterhub.costs.summary import summarise
from adapterhub.settings import Settings

SLOW = Paces(arms={"full": Pace(step_seconds=0.4, step_processor_seconds=0.8),
                   "lora-r8": Pace(step_seconds=0.1, step_processor_seconds=0.2)}, n_steps=40,
             machine={"processor": "R"})


def test_arms_are_timed_in_rounds_with_the_yardstick_and_not_again(
        suite: Suite, result: Callable[..., Result], tiny_settings: Settings, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[list[str]] = []
    real = paces._round

    def counted(arms: dict[str, Any], *given: Any) -> Any:
        rounds.append(list(arms))
        return real(arms, *given)
    monkeypatch.setattr(paces, "_round", counted)
    names = ["lora-r2", "full"]
    task = replace(suite.tasks[0], epochs=1)
    larger = replace(suite, tasks=(task,), arms=tuple(map(find_arm, [*names, "bare"])), is_tuned=True)
    results = [result(name, 0.9) for name in names]
    found = time_arms(larger, results, tmp_path, tiny_settings)["intents"]
    assert rounds == [["full", "lora-r2"]]
    assert list(found.arms) == ["full", "lora-r2"]
    assert all(pace.step_seconds > 0 and pace.step_processor_seconds > 0 for pace in found.arms.values())
    assert found.n_steps > 2
    assert time_arms(larger, results, tmp_path, tiny_settings) == paces_of(larger, tmp_path) == {"intents": found}
    assert len(rounds) == 1, "what is there is not measured again"
    monkeypatch.setattr(paces, "_round", lambda arms, *_: {name: [dict.fromkeys(Pace.__slots__, 1.0)] for name in arms})
    more = replace(larger, arms=(*larger.arms, find_arm("ia3")))
    again = time_arms(more, [*results, result("ia3", 0.9)], tmp_path, tiny_settings)["intents"]
    assert [pace.step_seconds for pace in again.arms.values()] == [1.0] * 3, "one more arm: all are timed together anew"


def test_arms_that_all_ran_in_one_round_need_no_other(suite: Suite, result: Callable[..., Result],
                                                      tiny_settings: Settings, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "started_arm", lambda *_: pytest.fail("an arm was started"))
    assert time_arms(suite, [result("full", 0.9), result("lora-r2", 0.9)], tmp_path, tiny_settings) == {}


def test_pace_is_held_to_the_yardsticks_step_on_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program makes the second round three times slower, and one step of the adapter five times."""
    full = [1.0, 2.0, 4.0]

    def of_round(arms: dict[str, Any], *_: Any) -> dict[str, list[dict[str, float]]]:
        busy = 3 if "lean" in arms else 1
        shares = {"full": [1, 1, 1], "lora-r8": [0.5, 2.5, 0.5], "lean": [0.25, 0.25, 0.25]}
        return {name: [dict.fromkeys(Pace.__slots__, busy * share * seconds)
                       for share, seconds in zip(shares[name], full, strict=True)] for name in arms}
    monkeypatch.setattr(paces, "_round", of_round)
    settings: Any = dict.fromkeys(("lora-r8", "full", "lean"))
    found = measure_paces(settings, 2, tmp_path, lambda *_: pytest.fail("no bar"))
    assert found is not None
    assert {name: pace.step_processor_seconds for name, pace in found.arms.items()} == {
        "full": 2.0, "lora-r8": 1.0, "lean": 0.5}


def test_run_with_too_few_steps_has_no_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "_round", lambda arms, *_: {name: [] for name in arms})
    settings: Any = dict.fromkeys(("lora-r8", "full"))
    assert measure_paces(settings, 2, tmp_path, lambda *_: pytest.fail("no bar")) is None


def test_all_times_of_a_result_go_by_the_pace(result: Callable[..., Result], tmp_path: Path) -> None:
    results = [result("full", 0.95, step=0.2), result("lora-r8", 0.95, step=0.3), result("own", 0.9, step=0.5)]
    paced = at_pace(results, {"intents": SLOW})
    full, adapter, own = summarise(paced, "intents")
    assert (full.step_seconds, adapter.step_seconds, own.step_seconds) == (0.8, 0.2, 0.5)
    assert full.best_seconds == pytest.approx(20 * 0.8)
    assert adapter.near_seconds == pytest.approx(20 * 0.2)
    assert adapter.train_seconds == pytest.approx(20 * 0.1)
    assert paced[1].figures.curve[1].seconds == pytest.approx(20 * 0.1)
    assert at_pace(results, {"other": SLOW}) == results
    report = write_report(Compared(suite="own", results=paced, paces={"intents": SLOW}), tmp_path).with_suffix(".md")
    assert "Memory is of P. Each arm took 40 steps in turn with full fine-tuning's on R" in report.read_text()
