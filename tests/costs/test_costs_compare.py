"""A comparison runs what is missing, keeps each arm as it comes, and becomes a report that says where it comes from."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import pair_rows, write_rows

from adapterhub.costs.arms import find_arm
from adapterhub.costs.compare import run_comparison, tuned
from adapterhub.costs.report import Compared, write_report
from adapterhub.costs.results import Result, ResultsFolder
from adapterhub.costs.run import Written, compare_and_report
from adapterhub.costs.suites import ComparedTask, Suite, find_suite, own_suite
from adapterhub.costs.summary import mean_of, summarise
from adapterhub.costs.words import when_to_use_which
from adapterhub.errors import AdapterHubError, DataError, InvalidConfig, TrainingError, UnknownName
from adapterhub.settings import Settings


@pytest.fixture(scope="module")
def written(suite: Suite, tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return compare_and_report(suite, tmp_path_factory.mktemp("compared") / "out", tiny_settings, price_per_hour=2.0)


def test_adapter_is_smaller_than_the_whole_model_in_all_that_is_counted(written: Written) -> None:
    full, adapter = (next(result.figures for result in written.compared.results if result.figures.arm == name)
                     for name in ("full", "lora-r2"))
    assert adapter.trained_parameters < full.trained_parameters
    assert full.parts is not None
    assert adapter.parts is not None
    assert full.parts.gradients == 4 * full.trained_parameters
    assert full.parts.checkpoint == 12 * full.trained_parameters
    assert adapter.parts.optimizer < full.parts.optimizer
    assert [point.epoch for point in adapter.curve] == [1, 2]
    assert 0 < adapter.curve[0].processor_seconds < adapter.curve[1].processor_seconds


def test_results_lie_in_the_layout_of_pefts_comparison(written: Written) -> None:
    plain = json.loads((written.page.parent / "intents" / "lora-r2--seed0.json").read_text())
    assert plain.keys() == {"run_info", "train_info", "meta_info"}
    train = plain["train_info"]
    assert {"accelerator_memory_max", "train_time", "file_size", "num_trainable_params", "metrics"} <= train.keys()
    assert train["status"] == "success"
    assert plain["meta_info"]["package_info"]["peft-version"]
    assert not re.search(r"/tmp|/home", json.dumps(plain)), "no place of this machine"
    assert not (written.page.parent / ".work").exists(), "what arms wrote on the way is not kept"


def test_what_is_there_is_not_run_again(suite: Suite, written: Written, tiny_settings: Settings,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an arm was started")

    monkeypatch.setattr("adapterhub.costs.compare.run_arms", refuse)
    again = run_comparison(suite, written.page.parent, tiny_settings)
    assert [result.figures for result in again] == [result.figures for result in written.compared.results]
    longer = Suite(name="tiny", tasks=suite.tasks, arms=suite.arms, seeds=(1,), is_tuned=False)
    with pytest.raises(AssertionError, match="an arm was started"):
        run_comparison(longer, written.page.parent, tiny_settings)


def test_report_stands_alone_and_says_what_it_was_measured_on(written: Written) -> None:
    page = written.page.read_text()
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    text = written.page.with_suffix(".md").read_text()
    for said in ("seeds 0", "torch 2.13.0", "not measurable here", "full fine-tuning", "arXiv 2106.09685",
                 "Left out: bare. The bare base cannot answer", "at 2 an hour"):
        assert said in text
    assert (written.page.parent / "memory-intents.png").read_bytes()[:4] == b"\x89PNG"


def test_report_can_be_written_of_what_is_there_so_far(suite: Suite, written: Written, tiny_settings: Settings,
                                                       tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterhub.costs.compare.run_arms", lambda *_, **__: pytest.fail("an arm was started"))
    place = tmp_path / "stopped"
    (place / "intents").mkdir(parents=True)
    for name in ("full--seed0.json", "lora-r2--seed0.json"):
        (place / "intents" / name).write_bytes((written.page.parent / "intents" / name).read_bytes())
    longer = replace(suite, seeds=(0, 1), served="support/banking77", grid_batches=(8,))
    report = compare_and_report(longer, place, tiny_settings, is_run=False)
    assert [arm["arm"] for arm in report.to_dict()["tasks"]["intents"]] == ["full", "lora-r2"]
    assert report.page.exists()
    with pytest.raises(DataError, match="has no result of this comparison yet"):
        compare_and_report(longer, tmp_path / "empty", tiny_settings, is_run=False)


def test_rate_with_the_best_validation_metric_is_taken_once_found(suite: Suite, tmp_path: Path,
                                                                  result: Callable[..., Result],
                                                                  monkeypatch: pytest.MonkeyPatch,
                                                                  tiny_settings: Settings) -> None:
    from adapterhub.costs.compare import survey_rows

    asked: list[float] = []

    def pretend(arms: dict[Path, Any], _: Any, *, ended: Callable[..., None]) -> None:
        for output, settings in arms.items():
            asked.append(settings.learning_rate)
            quality = {2e-4: 0.6, 1e-4: 0.9, 4e-4: 0.7, 5e-5: 0.8}[settings.learning_rate]
            ended(output, result("full", quality, learning_rate=settings.learning_rate).figures)

    monkeypatch.setattr("adapterhub.costs.compare.run_arms", pretend)
    survey, arms = survey_rows(suite.tasks[0], tiny_settings), [find_arm("full")]
    folder = ResultsFolder(tmp_path)

    def tune() -> dict[str, float]:
        found = tuned(suite, suite.tasks[0], arms, survey, folder, lambda *_: pytest.fail("no bar"))
        return {name: best.figures.learning_rate for name, best in found.items()}
    assert tune() == {"full": 1e-4}
    assert tune() == {"full": 1e-4}
    assert asked == [2e-4, 1e-4, 4e-4, 5e-5], "the best of the first three was their lowest"


def test_search_goes_on_at_its_edge_but_not_for_ever(suite: Suite, tmp_path: Path, result: Callable[..., Result],
                                                     monkeypatch: pytest.MonkeyPatch,
                                                     tiny_settings: Settings) -> None:
    from adapterhub.costs.compare import survey_rows

    asked: list[float] = []

    def pretend(arms: dict[Path, Any], _: Any, *, ended: Callable[..., None]) -> None:
        for output, settings in arms.items():
            asked.append(settings.learning_rate)
            ended(output, result("full", settings.learning_rate, learning_rate=settings.learning_rate).figures)

    monkeypatch.setattr("adapterhub.costs.compare.run_arms", pretend)
    arms = [find_arm("full"), find_arm("lora-r8-checkpointing")]
    found = tuned(suite, suite.tasks[0], arms, survey_rows(suite.tasks[0], tiny_settings), ResultsFolder(tmp_path),
                  lambda *_: pytest.fail("no bar"))
    assert asked == [2e-4, 1e-4, 4e-4, 8e-4, 16e-4]
    assert {name: best.figures.learning_rate for name, best in found.items()} == {"full": 16e-4}, \
        "checkpointing learns as lora-r8 does, and takes its rate"


def test_task_may_leave_arms_out(suite: Suite, result: Callable[..., Result], tiny_settings: Settings, tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    rates: dict[str, float] = {}

    def pretend(arms: dict[Path, Any], _: Any, *, ended: Callable[..., None]) -> None:
        for output, settings in arms.items():
            rates[settings.name] = settings.learning_rate
            ended(output, result(settings.name, 0.5, learning_rate=settings.learning_rate).figures)

    monkeypatch.setattr("adapterhub.costs.compare.run_arms", pretend)
    arms = tuple(map(find_arm, ("full", "lora-r8", "lora-r8-checkpointing", "lora-r2")))
    task = replace(suite.tasks[0], arms=("lora-r8", "lora-r8-checkpointing"))
    run_comparison(replace(suite, tasks=(task,), arms=arms), tmp_path, tiny_settings)
    assert rates == {"lora-r8": 2e-3, "lora-r8-checkpointing": 2e-3}


def test_arm_with_nothing_to_train_is_left_out(suite: Suite, result: Callable[..., Result], tiny_settings: Settings,
                                               tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(arms: dict[Path, Any], _: Any, *, ended: Callable[..., None]) -> None:
        for output, settings in arms.items():
            ended(output, result(settings.name, 0.5).figures)

    monkeypatch.setattr("adapterhub.costs.compare.run_arms", pretend)
    rows = write_rows(tmp_path / "pairs.jsonl", pair_rows(160))
    task = replace(suite.tasks[0], name="pairs", task="sentence-similarity", data=str(rows))
    compared = compare_and_report(replace(suite, tasks=(task,), arms=tuple(map(find_arm, ("head", "lora-r2")))),
                                  tmp_path / "out", tiny_settings).compared
    assert [one.figures.arm for one in compared.results] == ["lora-r2"]
    assert "sentence-similarity has no head that could be trained alone" in compared.left_out["pairs"]["head"]


def test_summary_has_intervals_and_time_to_fulls_quality(result: Callable[..., Result]) -> None:
    results = [result("full", quality, seed=seed, step=0.2) for seed, quality in enumerate((0.90, 0.92, 0.94))]
    results += [result("lora-r8", quality, seed=seed) for seed, quality in enumerate((0.92, 0.93, 0.95))]
    full, adapter = summarise(results, "intents")
    assert (full.quality.value, full.quality.n) == (pytest.approx(0.92), 3)
    assert full.quality.half_width == pytest.approx(4.3027 * 0.02 / 3 ** 0.5, rel=1e-3)  # t of two degrees of freedom
    assert adapter.near_seconds == pytest.approx(2.0)  # of two epochs of ten steps
    assert full.near_seconds is None, "one of its seeds stays more than half a point below the mean of the best"
    assert mean_of([0.5]).half_width is None


def test_costs_are_of_one_processor_and_quality_of_all_seeds(result: Callable[..., Result], tmp_path: Path) -> None:
    elsewhere = {"processor": "Q", "threads": 2, "memory_bytes": 8e9}
    results = [result("full", 0.90, step=0.2), result("full", 0.92, step=9.0, seed=1), result("lora-r8", 0.92),
               result("lora-r8", 0.92, seed=1), result("head", 0.5, step=9.0)]
    results = [replace(one, machine=elsewhere) if one.figures.step_seconds == 9.0 else one for one in results]
    full, head, adapter = summarise(results, "intents")
    assert (full.step_seconds, full.processor, full.quality.value) == (0.2, "P", pytest.approx(0.91))
    assert (adapter.step_seconds, adapter.processor, adapter.seeds) == (0.1, "P", (0, 1))
    assert (head.step_seconds, head.processor) == (9.0, "Q"), "it ran nowhere else"
    report = write_report(Compared(suite="own", results=results), tmp_path).with_suffix(".md").read_text()
    assert "head only on Q. Times of different processors do not compare." in report
    assert "P, 2 processors" in report and "Q, 2 processors" in report


def test_arm_that_the_table_does_not_know_comes_last_under_its_own_name(result: Callable[..., Result]) -> None:
    found = summarise([result("own", 0.9), result("lora-r8", 0.9), result("full", 0.9)], "intents")
    assert [(arm.arm, arm.title) for arm in found][0::2] == [("full", "full fine-tuning"), ("own", "own")]


def test_words_follow_the_figures(result: Callable[..., Result]) -> None:
    results = [result("full", 0.95, disk=6000, peak=1000, step=0.2), result("head", 0.70),
               result("lora-r8", 0.90, disk=100, peak=1200, step=0.3)]
    said = when_to_use_which("intents", summarise(results, "intents"))
    assert "is worse than full fine-tuning (0.950) by 5.0 points" in said
    assert "1/60 of a whole model" in said
    assert "More memory than full fine-tuning needs LoRA all-linear, rank 8" in said
    assert "loses 20.0 points" in said
    assert "fine-tune the whole model" in said
    equal = [result("full", 0.95, peak=1000, step=0.2), result("lora-r8", 0.948, peak=500)]
    said = when_to_use_which("intents", summarise(equal, "intents"))
    assert "do not differ by more than the spread" in said
    assert "Take an adapter" in said


def test_bare_base_shows_its_answers_and_no_costs(result: Callable[..., Result], tmp_path: Path) -> None:
    bare = result("bare", 0.80, disk=0, peak=0, step=0.0, trained_parameters=0, n_steps=0, curve=[], parts=None)
    results = [result("full", 0.95), result("lora-r8", 0.95), bare]
    assert "The bare base answers with 0.800, so training gains 15.0 points." in when_to_use_which(
        "intents", summarise(results, "intents"))
    equal = [*results[:2], replace(bare, figures=replace(bare.figures, metrics={"accuracy": 0.95}))]
    assert "nothing need be trained" in when_to_use_which("intents", summarise(equal, "intents"))
    report = write_report(Compared(suite="own", results=results), tmp_path).with_suffix(".md").read_text()
    row, = (line for line in report.splitlines() if line.startswith("| bare base"))
    assert {cell.strip() for cell in row.split("|")} == {"", "bare base", "accuracy 0.800"}


def test_too_few_rows_are_told(suite: Suite, tiny_rows: dict[str, Path], tiny_settings: Settings,
                               tmp_path: Path) -> None:
    task = ComparedTask(name="few", task="text-classification", data=str(tiny_rows["intents3"]), epochs=1,
                        base=suite.tasks[0].base)
    with pytest.raises(DataError, match="6 test rows; arms cannot be told apart"):
        run_comparison(own_suite(task, ("full", "lora-r2"), 1), tmp_path, tiny_settings)


def test_arm_that_does_not_fit_is_told_before_it_starts(suite: Suite, tiny_settings: Settings, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterhub.costs.estimate.available_memory_bytes", lambda: 1000)
    with pytest.raises(TrainingError, match="full fine-tuning on intents needs about"):
        run_comparison(suite, tmp_path, tiny_settings)
    assert not (tmp_path / ".work").exists()


@pytest.mark.parametrize(("make", "error", "sentence"), [
    (lambda s: find_suite("quik", s), UnknownName, "quik"),
    (lambda s: find_suite("text", s), DataError, "ADAPTERHUB_DATA"),
    (lambda s: find_suite("scale", s), InvalidConfig, "CUDA"),
    (lambda s: own_suite(find_suite("quick", s).tasks[0], ("lora-r9",), 1), UnknownName, "lora-r9"),
    (lambda s: own_suite(find_suite("quick", s).tasks[0], (), 0), InvalidConfig, "--seeds is 0"),
], ids=["suite", "data", "gpu", "arm", "seeds"])
def test_bad_suite_is_one_sentence(tiny_settings: Settings, make: Callable[[Settings], Suite],
                                   error: type[AdapterHubError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        make(tiny_settings)


def test_report_of_one_arm_says_that_nothing_stands_beside_it(result: Callable[..., Result], tmp_path: Path) -> None:
    page = write_report(Compared(suite="own", results=[result("lora-r8", 0.9)]), tmp_path)
    assert "nothing stands beside full fine-tuning" in page.with_suffix(".md").read_text().lower()
