"""A search: trials are runs as `train` makes them, the study survives, the best is trained on all but the test rows."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import load_base
from adapterhub.errors import DataError, InvalidConfig, StorageError, TrainingError
from adapterhub.progress import progress_bar
from adapterhub.searching.bed import TrialBed, make_bed
from adapterhub.searching.kept_base import keep_base
from adapterhub.searching.search import NoTrialEnded, SearchResult
from adapterhub.searching.space import parse_space, with_params
from adapterhub.searching.study import STUDY_FILE, make_pruner
from adapterhub.settings import Settings
from adapterhub.tasks.loading import load_for
from adapterhub.tasks.table import find_task
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import run_training

Search = Callable[..., SearchResult]


def folder_of(result: SearchResult) -> Path:
    assert result.trained is not None
    assert result.trained.folder is not None
    return result.trained.folder


@pytest.fixture(scope="module")
def bed(tiny_base_folder: Path, tiny_settings: Settings, tiny_rows: dict[str, Path]) -> TrialBed:
    config = TrainConfig(task="text-classification", data=str(tiny_rows["intents3"]), base=str(tiny_base_folder),
                         output=Path("out"), epochs=1, batch_size=8, max_length=32, rank=2)
    return make_bed(config, tiny_settings, lambda title, total: progress_bar(title, total, is_shown=False))


def test_first_trial_has_the_settings_of_a_run_without_a_search(searched: SearchResult) -> None:
    """Where the space has them: the default rank of 8 is none of 2 and 4."""
    assert searched.trials[0].params["learning_rate"] == 2e-3


def test_best_is_trained_on_training_and_validation_rows_for_its_epochs(searched: SearchResult) -> None:
    manifest = read_folder(folder_of(searched)).manifest
    own = manifest.training.hyperparameters
    assert {name: own[name] for name in searched.best.params} == searched.best.params
    assert (own["epochs"], own["is_validated"]) == (searched.best.best_epoch, False)
    assert {metric.split for metric in manifest.metrics} == {"test"}
    assert searched.best.value == max(trial.value or 0 for trial in searched.trials)


def test_study_lies_beside_the_folder_as_json_too(searched: SearchResult) -> None:
    assert searched.study == folder_of(searched).with_name("out.search")
    trials = json.loads((searched.study / "trials.json").read_text())
    assert [trial["params"] for trial in trials] == [trial.params for trial in searched.trials]
    assert not {"study.db", "trials.json"} & {path.name for path in folder_of(searched).iterdir()}


def test_a_trial_is_the_run_that_train_makes_with_its_settings(searched: SearchResult, tiny_base_folder: Path,
                                                               tiny_settings: Settings, tiny_rows: dict[str, Path],
                                                               tmp_path: Path) -> None:
    trial = searched.trials[-1]
    config = TrainConfig(task="text-classification", data=str(tiny_rows["intents5"]), base=str(tiny_base_folder),
                         epochs=2, batch_size=8, max_length=32, output=tmp_path / "out", **trial.params)
    outcome = run_training(config, tiny_settings).outcome
    assert (outcome.best_value, outcome.best_epoch) == (trial.value, trial.best_epoch)
    assert [metrics["accuracy"] for metrics in outcome.epoch_metrics] == list(trial.values.values())


def test_base_is_read_once_and_every_asker_begins_as_if_it_had_read_it(tiny_base_folder: Path, tiny_settings: Settings,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    base, task = load_base(str(tiny_base_folder), cache=tiny_settings.cache), find_task("text-classification")
    torch.manual_seed(1)
    fresh, drawn = load_for(base, task, ["a", "b"]), torch.rand(1)
    kept = keep_base(base)
    for _ in range(2):
        torch.manual_seed(1)
        own = load_for(kept, task, ["a", "b"])
        assert torch.equal(torch.rand(1), drawn), "what is drawn afterwards is what it would have been"
        assert all(torch.equal(a, b) for a, b in zip(own.parameters(), fresh.parameters(), strict=True))
        own.classifier = torch.nn.Linear(32, 9)  # modules are its own
        monkeypatch.setattr("adapterhub.bases.load.AutoConfig.from_pretrained", lambda *_, **__: pytest.fail("read"))


def test_weights_that_a_run_wrote_into_are_read_anew(tiny_base_folder: Path, tiny_settings: Settings) -> None:
    base, task = load_base(str(tiny_base_folder), cache=tiny_settings.cache), find_task("text-classification")
    kept = keep_base(base)
    torch.manual_seed(1)
    first = load_for(kept, task, ["a", "b"])
    before = {name: value.clone() for name, value in first.state_dict().items()}
    first.bert.encoder.layer[0].attention.self.query.weight.data -= 1e-3  # as OLoRA does
    first.classifier.weight.requires_grad_(requires_grad=False)
    torch.manual_seed(1)
    second = load_for(kept, task, ["a", "b"])
    assert all(torch.equal(value, before[name]) for name, value in second.state_dict().items())
    assert second.classifier.weight.requires_grad


@pytest.mark.parametrize("method", ["pissa", "dora", "ia3"])
def test_a_trial_of_another_method_leaves_the_next_one_as_it_was(bed: TrialBed, method: str) -> None:
    first = bed.run(bed.config, [])
    bed.run(with_params(bed.config, {"method": method}), [])
    again = bed.run(bed.config, [])
    assert (again.best_value, again.losses) == (first.best_value, first.losses)
    assert all(torch.equal(value, first.state[name]) for name, value in again.state.items())


def test_stopped_search_goes_on_to_what_an_unbroken_one_finds(tiny_search: Search, searched: SearchResult,
                                                              tmp_path: Path) -> None:
    def stop(trials: Any) -> None:
        if trials[-1].number == 3 and trials[-1].values:
            os.kill(os.getpid(), signal.SIGINT)

    first = tiny_search(tmp_path / "out", 4, tell=stop)
    assert (first.is_stopped, first.trained) == (True, None)
    assert not (tmp_path / "out").exists()
    then = tiny_search(tmp_path / "out", 4)
    assert [trial.state for trial in then.trials] == ["complete", "complete", "failed", "complete", "complete"]
    ended = [trial for trial in then.trials if trial.state == "complete"]
    assert [(own.params, own.value) for own in ended] == [(own.params, own.value) for own in searched.trials]
    assert (folder_of(then) / "adapter_model.safetensors").read_bytes() == (
        folder_of(searched) / "adapter_model.safetensors").read_bytes()


def test_trial_of_a_process_that_died_is_failed_and_another_one_made(tiny_search: Search, searched: SearchResult,
                                                                     tmp_path: Path) -> None:
    shutil.copytree(searched.study, tmp_path / "out.search")
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'out.search' / STUDY_FILE}")
    optuna.load_study(study_name="search", storage=storage).ask()  # and never told, as after SIGKILL
    storage.remove_session()
    storage.engine.dispose()
    found = tiny_search(tmp_path / "out", 5)
    assert [trial.state for trial in found.trials] == [*["complete"] * 4, "failed", "complete"]


def test_budget_of_minutes_ends_a_search_after_its_first_trial(tiny_search: Search, tmp_path: Path) -> None:
    found = tiny_search(tmp_path / "out", 50, minutes=1e-6)
    assert len(found.trials) == 1
    assert found.trained is not None


def test_trials_that_fall_behind_are_pruned(tiny_search: Search, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number > 0 and trial.last_step == 1

    monkeypatch.setattr("adapterhub.searching.search.make_pruner", lambda *_: Strict())
    found = tiny_search(tmp_path / "out", 3)
    assert [(trial.state, list(trial.values)) for trial in found.trials] == [
        ("complete", [1, 2]), ("pruned", [1]), ("pruned", [1])]
    assert found.best.number == 1


@pytest.mark.parametrize(("name", "is_pruned"), [("median", True), ("hyperband", True), ("none", False)])
def test_pruners_end_what_is_far_behind_and_none_ends_nothing(name: str, is_pruned: bool) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=make_pruner(name, 9))

    def ends_early(value: float) -> bool:
        trial = study.ask()
        for epoch in range(1, 10):
            trial.report(value, epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return True
        study.tell(trial, value)
        return False

    for value in (0.8, 0.82, 0.84, 0.86, 0.88, 0.9, 0.91, 0.92):
        ends_early(value)
    assert any(ends_early(0.1) for _ in range(6)) == is_pruned  # hyperband's brackets do not all look early


def test_trial_that_diverges_is_a_finding_and_the_search_goes_on(tiny_search: Search, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    run, calls = TrialBed.run, []

    def diverge(self: TrialBed, config: TrainConfig, watchers: Any) -> Any:
        calls.append(config)
        if len(calls) == 1:
            raise TrainingError("The loss became nan at step 3.")
        return run(self, config, watchers)

    monkeypatch.setattr(TrialBed, "run", diverge)
    found = tiny_search(tmp_path / "out", 2)
    assert [(trial.state, trial.fault) for trial in found.trials] == [
        ("failed", "The loss became nan at step 3."), ("complete", "")]


def test_search_without_an_ended_trial_writes_no_folder_and_says_why(tiny_search: Search, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(self: TrialBed, config: TrainConfig, watchers: Any) -> Any:
        raise TrainingError("The loss became nan at step 3.")

    monkeypatch.setattr(TrialBed, "run", diverge)
    with pytest.raises(NoTrialEnded, match=r"None of 2 trials came to its end: The loss became nan at step 3\."):
        tiny_search(tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()


def test_study_of_other_settings_is_not_gone_on_with(tiny_search: Search, searched: SearchResult,
                                                     tmp_path: Path) -> None:
    shutil.copytree(searched.study, tmp_path / "out.search")
    before = (tmp_path / "out.search" / STUDY_FILE).read_bytes()
    with pytest.raises(InvalidConfig, match=r"else: setting epochs was 2, now 3; .*space rank was \[2, 4\], now"):
        tiny_search(tmp_path / "out", 6, epochs=3, given=parse_space(["learning_rate=1e-3:1e-1:log"], {}))
    assert (tmp_path / "out.search" / STUDY_FILE).read_bytes() == before


def test_study_that_is_damaged_is_told(tiny_search: Search, tmp_path: Path) -> None:
    (tmp_path / "out.search").mkdir()
    (tmp_path / "out.search" / STUDY_FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match=r"cannot be used: .*not a database"):
        tiny_search(tmp_path / "out", 1)


def test_rows_without_a_validation_part_are_refused(tiny_search: Search, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no validation rows, so no trial could be judged"):
        tiny_search(tmp_path / "out", 1, fractions=(0.8, 0.0, 0.2))


def test_ranks_are_drawn_for_methods_that_have_them_alone(tiny_search: Search, tmp_path: Path) -> None:
    found = tiny_search(tmp_path / "out", 4, given=parse_space(["method=ia3|lora", "rank=2|4"], {}), epochs=1)
    assert {trial.params["method"] for trial in found.trials} == {"ia3", "lora"}
    assert all(("rank" in trial.params) == (trial.params["method"] == "lora") for trial in found.trials)
