"""A run that was stopped or killed goes on to the bit; what it goes on from is checked first."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.errors import DataError, InvalidConfig, StorageError, TrainingError, TrainingStopped
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult, run_training
from adapterhub.training.run_folder import RunFolder, Start
from adapterhub.training.watch import EpochFacts, StepFacts

STEPS_PER_EPOCH = 4  # 30 rows, 8 a step
CHANGES = {"epochs": 3, "patience": 3, "dropout": 0.3, "checkpoint_seconds": 0.0}
Run = Callable[..., TrainResult]


class StopAt:
    """Sends a signal after one step, as a user or an operator would."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def step_ended(self, facts: StepFacts) -> None:
        if facts.step == self.step:
            os.kill(os.getpid(), self.number)

    def epoch_ended(self, facts: EpochFacts) -> None:
        pass


@pytest.fixture
def run(tiny_config: Callable[..., TrainConfig], tiny_settings: Settings) -> Run:
    """Train three epochs with dropout and a checkpoint after each step, stopped after `stop_at`."""
    def train(stop_at: int = 0, start: Start = "new", number: int = signal.SIGINT, **changes: object) -> TrainResult:
        config = tiny_config(**{**CHANGES, **changes})
        return run_training(config, tiny_settings, start=start, watchers=[StopAt(stop_at, number)])
    return train


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def stop(run: Run, step: int, **changes: object) -> TrainingStopped:
    with pytest.raises(TrainingStopped) as stopped:
        run(stop_at=step, **changes)
    return stopped.value


@pytest.fixture(scope="module")
def uninterrupted(tiny_base_folder: Path, tiny_rows: dict[str, Path], tiny_settings: Settings,
                  tmp_path_factory: pytest.TempPathFactory) -> str:
    config = TrainConfig(task="text-classification", data=str(tiny_rows["intents3"]), base=str(tiny_base_folder),
                         output=tmp_path_factory.mktemp("whole") / "out", batch_size=8, rank=2, max_length=32,
                         learning_rate=2e-2, dtype="float32", **CHANGES)  # type: ignore[arg-type]
    folder = run_training(config, tiny_settings).folder
    assert folder
    return weights(folder)


@pytest.mark.parametrize("step", [1, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 2, 3 * STEPS_PER_EPOCH],
                         ids=["first step", "end of an epoch", "in an epoch", "last step"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_stopped_run_goes_on_to_the_bit(step: int, number: int, run: Run, tmp_path: Path, uninterrupted: str) -> None:
    told = stop(run, step, number=number)
    assert str(told).startswith(f"Training was stopped after step {step} of 12")
    assert not (tmp_path / "out").exists()
    folder = run(start="resume").folder
    assert folder
    assert weights(folder) == uninterrupted


def test_stopped_twice_and_resumed_twice_is_still_the_same(run: Run, uninterrupted: str) -> None:
    stop(run, 2)
    stop(run, 7, start="resume")
    folder = run(start="resume").folder
    assert folder
    assert weights(folder) == uninterrupted


def test_best_epoch_of_a_stopped_run_is_taken_as_it_is(run: Run, tmp_path: Path) -> None:
    stop(run, 2 * STEPS_PER_EPOCH + 1)
    result = run(start="finish")
    assert (result.folder, result.outcome.epochs_done) == (tmp_path / "out", 2)
    assert result.outcome.best_epoch in (1, 2)


def test_nothing_to_finish_before_the_first_epoch_ended(run: Run) -> None:
    stop(run, 1)
    with pytest.raises(TrainingError, match=r"not ended an epoch, so it has nothing to write\. Go on with --resume"):
        run(start="finish")
    run(start="resume")


def test_handlers_are_what_they_were_afterwards(run: Run) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop(run, 1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_log_tells_each_step_once_however_often_the_run_was_stopped(run: Run, tmp_path: Path) -> None:
    stop(run, 3, checkpoint_seconds=float("inf"))
    with (tmp_path / "out.run" / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "loss"')  # a line that a kill cut short
    run(start="resume")
    lines = [json.loads(line) for line in (tmp_path / "out.run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "validation_accuracy" in line] == [4, 8, 12]
    assert {"learning_rate", "gradient_norm", "rows_per_second"} <= lines[0].keys()


def test_finished_run_keeps_its_log_and_no_checkpoint(run: Run, tmp_path: Path) -> None:
    run()
    assert sorted(path.name for path in (tmp_path / "out.run").iterdir()) == ["log.jsonl", "run.json"]


def test_checkpoint_holds_no_base_weights_and_stays_small(run: Run, tmp_path: Path) -> None:
    stop(run, STEPS_PER_EPOCH + 1, rank=64)
    places = sorted((tmp_path / "out.run" / "checkpoints").iterdir())
    assert [place.name for place in places] == ["00000004", "00000005"]
    adapter = load_file(places[-1] / "adapter.safetensors")
    assert all("lora_" in name or "classifier" in name or "pooler" in name for name in adapter)
    written = sum(path.stat().st_size for path in places[-1].iterdir())
    assert written <= 6 * sum(value.numel() * value.element_size() for value in adapter.values())


def test_damaged_checkpoint_is_said_and_the_one_before_is_used(run: Run, tmp_path: Path, uninterrupted: str,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    stop(run, 6)
    newest = tmp_path / "out.run" / "checkpoints" / "00000006"
    optimizer = newest / "optimizer.bin"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    result = run(start="resume")
    assert result.outcome.broken_checkpoints == ["00000006"]
    assert "Checkpoint 00000006 is damaged: going on from 00000005, the one before it." in caplog.text
    assert result.folder
    assert weights(result.folder) == uninterrupted


def test_no_whole_checkpoint_is_told(run: Run, tmp_path: Path) -> None:
    stop(run, 2)
    for place in (tmp_path / "out.run" / "checkpoints").iterdir():
        (place / "digests.json").write_text("{")
    with pytest.raises(TrainingError, match=r"No checkpoint in .* is whole\. Remove its folder to start anew"):
        run(start="resume")


@pytest.mark.parametrize(("change", "told"), [
    ({"learning_rate": 1e-3}, "learning_rate was 0.02, now 0.001"),
    ({"epochs": 4, "rank": 3}, "epochs was 3, now 4; rank was 2, now 3")], ids=["rate", "epochs and rank"])
def test_resuming_with_other_settings_names_them(change: dict[str, object], told: str, run: Run) -> None:
    stop(run, 1)
    with pytest.raises(InvalidConfig, match=told):
        run(start="resume", **change)
    run(start="resume", name="a better name for the rows")


def test_resuming_on_other_rows_is_refused(run: Run, tiny_rows: dict[str, Path], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(tiny_rows["intents3"].read_text())
    stop(run, 1, data=str(rows))
    rows.write_text(rows.read_text() + '{"text": "one more", "label": "card"}\n')
    with pytest.raises(InvalidConfig, match="asked for something else: the rows are others"):
        run(start="resume", data=str(rows))


def test_new_run_does_not_overwrite_a_stopped_one(run: Run) -> None:
    stop(run, 1)
    with pytest.raises(DataError, match=r"out\.run holds a run that was stopped\. Go on with --resume"):
        run()


def test_nothing_to_resume_is_told(run: Run) -> None:
    with pytest.raises(DataError, match=r"no stopped run to resume at .*out\.run\. Leave out --resume"):
        run(start="resume")


def test_second_training_with_the_same_output_is_refused(run: Run, tmp_path: Path) -> None:
    held = RunFolder(tmp_path / "out")
    held.path.mkdir()
    held.hold()
    with pytest.raises(StorageError, match=r"Another training is writing to .*out\.run"):
        run()


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 7])
def test_killed_run_goes_on_to_the_bit(step: int, tiny_base_folder: Path, tiny_rows: dict[str, Path], tmp_path: Path,
                                       uninterrupted: str) -> None:
    command = [sys.executable, "-m", "adapterhub", "train", "--task", "text-classification", "--data",
               str(tiny_rows["intents3"]), "--base", str(tiny_base_folder), "--output", str(tmp_path / "out"),
               "--max-length", "32", "--batch-size", "8", "--rank", "2", "--learning-rate", "2e-2", "--epochs", "3",
               "--patience", "3", "--dropout", "0.3", "--dtype", "float32", "--checkpoint-seconds", "0"]
    environment = {**os.environ, "ADAPTERHUB_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 120
        place = tmp_path / "out.run" / "checkpoints" / f"{step:08d}"
        while not place.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    assert not (tmp_path / "out").exists()
    subprocess.run([*command, "--resume"], env=environment, check=True, capture_output=True, timeout=120)
    assert weights(tmp_path / "out") == uninterrupted


@pytest.mark.parametrize(("method", "changes"), [("adalora", {"rank": 2}), ("pissa", {}), ("loraplus", {}),
                                                 ("lora", {"head_learning_rate": 5e-2})])
def test_method_with_a_state_of_its_own_goes_on_to_the_bit(method: str, changes: dict[str, object], run: Run,
                                                           tmp_path: Path) -> None:
    """Twelve steps are three epochs: AdaLoRA's budget is being cut at step 5, and its ranks stay from step 6."""
    whole = run(method=method, output=tmp_path / "whole", **changes).folder
    stop(run, 5, method=method, **changes)
    folder = run(start="resume", method=method, **changes).folder
    assert whole
    assert folder
    assert weights(folder) == weights(whole)
