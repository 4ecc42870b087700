"""The next version from corrections: trained on from the published one, measured, published only through the gate."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adapter_folders import write_adapter_folder
from tiny import entity_rows, intent_rows, write_rows

from adapterhub.adapter.folder import AdapterFolder
from adapterhub.cli.gate_measure import measure_by_runtime
from adapterhub.data.split import SplitPlan, read_splits
from adapterhub.errors import AdapterHubError, AdapterNotFound, DataError, InvalidConfig, PromotionRefused
from adapterhub.registry import Limits, Registry
from adapterhub.retraining.retrain import RetrainPlan, retrain
from adapterhub.retraining.rows import retraining_rows
from adapterhub.settings import Settings
from adapterhub.tasks.table import find_task

WORDS = {"card": "visa", "loan": "rate", "travel": "hotel"}
"""What callers say, which the first version never saw."""
LESSONS = [{"text": f"{filler} {word} {again}", "label": label} for label, word in WORDS.items()
           for filler in ("the", "my", "where") for again in ("", "rome")]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("given") / "rows.jsonl", intent_rows(3, 21))


@pytest.fixture(scope="module")
def first(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, rows: Path) -> Path:
    return train_tiny(tmp_path_factory.mktemp("first") / "adapter", "text-classification", str(rows), rank=4)


@pytest.fixture
def registry(first: Path, tmp_path: Path) -> Registry:
    """t/intents 1 as production, behind a gate that asks for no drop."""
    registry = Registry(tmp_path / "registry")
    registry.publish(first, "t/intents")
    registry.promote("t/intents", "production")
    gate_rows = write_rows(tmp_path / "gate.jsonl", [lesson for lesson in LESSONS if lesson["text"].startswith("my")])
    registry.set_gate("t/intents", "production", Limits(metric="accuracy", max_drop=0.0), gate_rows)
    return registry


@pytest.fixture
def plan(rows: Path, tiny_base_folder: Path) -> RetrainPlan:
    return RetrainPlan(reference="t/intents", data=str(rows), epochs=4, learning_rate=1e-2, base=str(tiny_base_folder))


@pytest.fixture
def run(registry: Registry, tiny_settings: Settings, plan: RetrainPlan) -> Callable[..., Any]:
    def retrained(lessons: Any = LESSONS, **changes: Any) -> Any:
        return retrain(replace(plan, **changes), lessons, registry, measure_by_runtime(tiny_settings, plan.base),
                       tiny_settings)
    return retrained


def test_next_version_learns_what_was_corrected_and_passes_its_gate(run: Callable[..., Any], registry: Registry,
                                                                    tmp_path: Path) -> None:
    result = run(output=tmp_path / "kept")
    assert (result.parent.reference, result.version.reference) == ("t/intents@1", "t/intents@2")
    assert registry.aliases("t/intents") == {"production": 2}
    manifest = registry.read("t/intents@production").manifest
    assert manifest.parents == [f"sha256:{result.parent.digest}"]
    assert manifest.method.rank == 4
    assert "corrections" in manifest.data.name
    assert result.move.figures["candidate"] >= result.move.figures["incumbent"]
    held_out = result.comparisons["corrections"]
    assert held_out.n_rows == len(result.rows.corrections) == 4
    assert held_out.candidate["accuracy"] > held_out.published["accuracy"]
    assert result.comparisons["test rows"].n_rows == len(result.rows.splits.test)
    assert json.loads((tmp_path / "kept" / "adapterhub.json").read_text())["task"] == "text-classification"


def test_gate_that_refuses_leaves_nothing_published_and_tells_the_figures(run: Callable[..., Any], registry: Registry,
                                                                          tmp_path: Path) -> None:
    registry.set_gate("t/intents", "production", Limits(metric="accuracy", minimum=1.1), tmp_path / "gate.jsonl")
    with pytest.raises(PromotionRefused, match=r"accuracy is .*, the gate asks at least 1.1; nothing was published"):
        run(output=tmp_path / "kept")
    assert registry.numbers("t/intents") == (1,)
    assert registry.aliases("t/intents") == {"production": 1}
    assert (tmp_path / "kept" / "adapter_model.safetensors").is_file()


def test_gate_measures_each_version_once(registry: Registry, tiny_settings: Settings, plan: RetrainPlan) -> None:
    measured: list[str] = []
    real = measure_by_runtime(tiny_settings, plan.base)

    def counted(folder: AdapterFolder, data: bytes, file: str) -> Mapping[str, float]:
        measured.append(folder.digest)
        return real(folder, data, file)
    registry.set_gate("t/intents", "production", Limits(metric="accuracy", minimum=0.0),
                      Path(registry.where).parent / "gate.jsonl")
    retrain(replace(plan, epochs=1), LESSONS, registry, counted, tiny_settings)
    assert len(measured) == len(set(measured)) == 2


def test_alias_that_moved_meanwhile_is_not_overrun(registry: Registry, tiny_settings: Settings,
                                                   plan: RetrainPlan) -> None:
    registry.publish(write_adapter_folder(Path(registry.where).parent / "other"), "t/intents")

    def overtaken(folder: AdapterFolder, data: bytes, file: str) -> Mapping[str, float]:
        registry.promote("t/intents@2", "production", is_forced=True)
        return {"accuracy": 1.0}
    with pytest.raises(PromotionRefused, match=r"moved|meanwhile"):
        retrain(replace(plan, epochs=1), LESSONS, registry, overtaken, tiny_settings)
    assert registry.aliases("t/intents") == {"production": 2}
    assert registry.resolve("t/intents").version == 2  # what was published and not promoted is no latest


@pytest.mark.parametrize(("changes", "error", "told"), [
    ({"alias": "staging"}, InvalidConfig, "adapterhub gate set t/intents --alias staging"),
    ({"reference": "t/missing"}, AdapterNotFound, "adapterhub copy"),
    ({"lessons": []}, DataError, "--store-inputs"),
    ({"lessons": [{"text": "my visa", "label": "crads"}]}, DataError, "1 have labels"),
    ({"lessons": [{"query": "my visa", "answer": "x"}]}, DataError, "1 are no rows"),
    ({"data": "missing.jsonl"}, DataError, "missing.jsonl"),
])
def test_what_cannot_be_retrained_is_told_before_any_training(run: Callable[..., Any], registry: Registry,
                                                              changes: dict[str, Any], error: type[AdapterHubError],
                                                              told: str) -> None:
    with pytest.raises(error) as caught:
        run(**changes)
    assert told in str(caught.value)
    assert registry.numbers("t/intents") == (1,)


def test_corrections_go_among_the_training_rows_and_never_into_the_held_out_ones(rows: Path, first: Path) -> None:
    from adapterhub.adapter.folder import read_folder

    task, manifest = find_task("text-classification"), read_folder(first).manifest
    before = retraining_rows(str(rows), LESSONS, task, manifest, columns={})
    known, tested = before.splits.train[0], before.splits.test[0]
    changed = {"text": known["text"], "label": "travel" if known["label"] != "travel" else "card"}
    lessons = [*LESSONS[:3], changed, {"text": tested["text"], "label": "card"}, {"text": "", "label": "card"}]
    found = retraining_rows(str(rows), lessons, task, manifest, columns={})
    assert (found.n_learned, found.corrections) == (4, [])
    assert found.n_replaced == sum(row["text"] == known["text"] for row in before.splits.train)
    assert (found.left_out.n_in_test, found.left_out.n_unreadable) == (1, 1)
    assert [row for row in found.splits.train if row["text"] == known["text"]] == [changed]
    assert found.splits.test == before.splits.test
    assert not {row["text"] for row in found.splits.train} & {row["text"] for row in found.splits.test}


def test_rows_are_divided_by_the_shares_of_the_first_run(train_tiny: Callable[..., Path], rows: Path,
                                                         tmp_path: Path) -> None:
    from adapterhub.adapter.folder import read_folder

    task, shares = find_task("text-classification"), (0.5, 0.2, 0.3)
    folder = read_folder(train_tiny(tmp_path / "adapter", task.name, str(rows), fractions=shares))
    ran = read_splits(str(rows), columns=task.columns, given={}, plan=SplitPlan(
        fractions=shares, seed=folder.manifest.training.seed, stratify_by=task.stratify_by))
    found = retraining_rows(str(rows), LESSONS, task, folder.manifest, columns={}).splits
    assert (found.validation, found.test) == (ran.validation, ran.test)
    assert found.test != retraining_rows(str(rows), LESSONS, task, replace(folder.manifest, training=replace(
        folder.manifest.training, hyperparameters={})), columns={}).splits.test


@pytest.mark.parametrize("told", ["0.7, 0.15", "[0.7, 0.3]", '["a", 0, 0]'])
def test_shares_that_no_run_writes_are_told(told: str, rows: Path, first: Path) -> None:
    from adapterhub.adapter.folder import read_folder

    manifest = read_folder(first).manifest
    manifest = replace(manifest, training=replace(manifest.training, hyperparameters={"fractions": told}))
    with pytest.raises(InvalidConfig, match="The manifest says fractions is"):
        retraining_rows(str(rows), LESSONS, find_task("text-classification"), manifest, columns={})


def test_near_duplicates_that_the_first_run_left_out_stay_out(first: Path, tmp_path: Path) -> None:
    from adapterhub.adapter.folder import read_folder

    text = "the card that I ordered two weeks ago is not here yet, where is it now"
    rows = write_rows(tmp_path / "rows.jsonl", [*({**row, "text": f"{i} {row['text']} {i + 99}"}
                                                  for i, row in enumerate(intent_rows(3))),
                                                *({"text": f"{text} {i}", "label": "card"} for i in range(9))])
    task, manifest = find_task("text-classification"), read_folder(first).manifest
    made = manifest.training.hyperparameters | {"remove_duplicates": True, "near_duplicates": 0.8}
    manifest = replace(manifest, training=replace(manifest.training, hyperparameters=made))
    splits = retraining_rows(str(rows), LESSONS, task, manifest, columns={}).splits
    assert sum(row["text"].startswith(text) for part in (splits.train, splits.validation, splits.test)
               for row in part) == 1


def test_rows_of_words_and_tags_are_corrected_too(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    from adapterhub.adapter.folder import read_folder

    rows = write_rows(tmp_path / "rows.jsonl", entity_rows())
    folder = read_folder(train_tiny(tmp_path / "adapter", "token-classification", str(rows), rank=2))
    lessons = [{"tokens": ["ben", "is", "new"], "tags": ["B-PER", "O", "O"]},
               {"tokens": ["ben", "is"], "tags": ["B-PER"]}, {"tokens": ["ben"], "tags": ["B-ANIMAL"]}]
    found = retraining_rows(str(rows), lessons, find_task("token-classification"), folder.manifest, columns={})
    assert found.splits.train[-1] == lessons[0]
    assert replace(found.left_out, n_in_test=0) == found.left_out
    assert (found.left_out.n_unreadable, found.left_out.n_strange_labels) == (1, 1)
