"""The card: the Hub reads its front matter, people read its tables, and its lines of Python run."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from adapterhub.adapter.folder import CARD_FILE, read_folder
from adapterhub.adapter.front_matter import HUB_LICENCES, hub_licence
from adapterhub.adapter.manifest import MANIFEST_FILE, FileFacts
from adapterhub.bases.load import Base
from adapterhub.errors import InvalidFolder
from adapterhub.files import sha256_of_bytes
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import ClassScore, Evaluation
from adapterhub.training.describe import TITLE, write_card
from adapterhub.training.run import TrainResult


@pytest.fixture
def folder(tiny_adapters: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_adapters["intents3"], tmp_path / "copy"))


def card_of(folder: Path) -> str:
    return (folder / CARD_FILE).read_text(encoding="utf-8")


def test_front_matter_is_what_the_hub_reads(run_tiny: Callable[..., TrainResult]) -> None:
    result = run_tiny(licence="CC BY-SA 3.0", name="My rows")
    assert result.folder
    data = ModelCard(card_of(result.folder)).data
    assert (data.library_name, data.pipeline_tag, data.base_model) == ("peft", "text-classification", "tiny-base")
    assert (data.license, data.get("base_model_relation")) == ("cc-by-sa-3.0", "adapter")
    assert data.tags == ["adapterhub", "lora"]
    assert data.eval_results
    told = {(r.dataset_split, r.metric_name, r.metric_type): r.metric_value for r in data.eval_results}
    metrics = result.findings.metrics
    assert told == {("test", "accuracy", "accuracy"): round(metrics["accuracy"], 4),
                    ("test", "macro_f1", "f1"): round(metrics["macro_f1"], 4),
                    ("test", "ece", "ece"): round(metrics["ece"], 4),
                    ("validation", "accuracy", "accuracy"): round(result.outcome.best_value, 4)}
    assert {(r.dataset_name, r.dataset_type, r.task_type) for r in data.eval_results} == {
        ("My rows", "my-rows", "text-classification")}


@pytest.mark.parametrize(("name", "task"), [("entities", "token-classification"), ("pairs", "sentence-similarity")])
def test_front_matter_tells_each_task_and_its_figures(name: str, task: str, tiny_adapters: dict[str, Path]) -> None:
    data = ModelCard(card_of(tiny_adapters[name])).data
    metrics = {(m.split, m.name) for m in read_folder(tiny_adapters[name]).manifest.metrics}
    assert data.pipeline_tag == task
    assert {(r.dataset_split, r.metric_name) for r in data.eval_results or []} == metrics


@pytest.mark.parametrize(("given", "expected"), [
    ("CC BY 4.0", "cc-by-4.0"), ("CC BY-SA 3.0", "cc-by-sa-3.0"), ("MIT", "mit"), ("MIT License", "mit"),
    ("Apache-2.0", "apache-2.0"), ("CC0 1.0", "cc0-1.0"), ("my own terms", "other"), ("", None)])
def test_licence_gets_the_hubs_id(given: str, expected: str | None) -> None:
    assert hub_licence(given) == expected
    assert expected in HUB_LICENCES | {"other", None}


def test_licence_that_the_hub_does_not_list_keeps_its_name(run_tiny: Callable[..., TrainResult]) -> None:
    folder = run_tiny(licence="My own terms").folder
    assert folder
    data = ModelCard(card_of(folder)).data
    assert (data.license, data.license_name) == ("other", "my-own-terms")


def test_card_has_no_blank_and_tells_the_measured_figures(tiny_adapters: dict[str, Path]) -> None:
    for folder in tiny_adapters.values():
        card = card_of(folder)
        assert "More Information Needed" not in card
        assert "None" not in card
        for metric in read_folder(folder).manifest.metrics:
            assert f"| {metric.name} | {metric.split} | {metric.n_rows} | {metric.value:.4f} |" in card


@pytest.mark.parametrize(("name", "shown"), [("intents3", "card|loan|travel"), ("entities", "'(O|[BI]-(PER|LOC))'"),
                                             ("pairs", r"-?\d\.\d+")])
def test_lines_of_python_on_the_card_run(name: str, shown: str, tiny_adapters: dict[str, Path],
                                         tiny_base_folder: Path, capsys: pytest.CaptureFixture[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    usage = card_of(tiny_adapters[name]).partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tiny_adapters[name])  # the card's own place
    exec(compile(usage.replace('"tiny-base"', repr(str(tiny_base_folder))), "card", "exec"), {})
    assert re.search(shown, capsys.readouterr().out)


def rewrite(folder: Path, base: Base, arms: dict[str, dict[str, float]]) -> None:
    """Write the card anew, with the tables of an evaluation whose one line is known."""
    report = [ClassScore(label="card", precision=1.0, recall=0.5, f1=2 / 3, support=2)]
    evaluation = Evaluation(metrics={}, n_rows=6, reports={"per class": report})
    write_card(folder, find_task("text-classification"), evaluation, base, arms)


def test_comparison_is_added_and_the_folder_still_verifies(folder: Path, tiny_base: Base) -> None:
    before = read_folder(folder)
    own = before.manifest.metric("accuracy")
    assert own is not None
    rewrite(folder, tiny_base, {"full fine-tuning": {"accuracy": own + 0.01, "macro_f1": 0.0}, "bare base": {}})
    card, after = card_of(folder), read_folder(folder)
    assert f"| full fine-tuning | {own + 0.01:.4f} | 0.0000 |" in card
    assert "| bare base | not measured | not measured |" in card
    assert "full fine-tuning is better in accuracy by 0.0100" in card
    assert "| card | 1.000 | 0.500 | 0.667 | 2 |" in card
    assert after.digest != before.digest
    assert after.files["adapter_model.safetensors"] == before.files["adapter_model.safetensors"]
    assert replace(after.manifest, files={}) == replace(before.manifest, files={})


def test_card_that_is_written_anew_has_one_comparison(folder: Path, tiny_base: Base) -> None:
    rewrite(folder, tiny_base, {"full fine-tuning": {"accuracy": 0.0}})
    rewrite(folder, tiny_base, {"bare base": {"accuracy": 0.0}})
    assert card_of(folder).count(TITLE) == 1
    assert "full fine-tuning" not in card_of(folder)
    assert "none of them does better" in card_of(folder)


def test_what_only_the_run_knew_stays_on_a_card_that_is_written_anew(folder: Path, tiny_base: Base) -> None:
    before = card_of(folder)
    rewrite(folder, tiny_base, {})
    rewrite(folder, tiny_base, {"bare base": {"accuracy": 0.0}})
    after = card_of(folder)
    for start, end in (("## Learning curve\n", "\n## "), ("```sh\nadapterhub train ", "```")):
        kept = before.partition(start)[2].partition(end)[0]
        assert kept
        assert after.count(start) == 1
        assert after.partition(start)[2].partition(end)[0] == kept


def test_a_card_without_curve_and_command_gets_none(folder: Path, tiny_base: Base) -> None:
    manifest, bare = read_folder(folder).manifest, b"# intents\n\nAn adapter.\n"
    (folder / CARD_FILE).write_bytes(bare)
    facts = FileFacts(sha256=sha256_of_bytes(bare), size_bytes=len(bare))
    (folder / MANIFEST_FILE).write_bytes(replace(manifest, files={**manifest.files, CARD_FILE: facts}).to_bytes())
    rewrite(folder, tiny_base, {})
    assert "Learning curve" not in card_of(folder)
    assert "```sh" not in card_of(folder)


def test_card_without_a_comparison_has_no_empty_table(folder: Path, tiny_base: Base) -> None:
    rewrite(folder, tiny_base, {})
    assert TITLE not in card_of(folder)
    read_folder(folder)


def test_card_of_a_changed_folder_is_not_written(folder: Path, tiny_base: Base) -> None:
    (folder / CARD_FILE).write_text("something else")
    with pytest.raises(InvalidFolder, match="README"):
        rewrite(folder, tiny_base, {})
    assert card_of(folder) == "something else"
