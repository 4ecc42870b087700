"""Ctrl-C ends a run, and the best so far becomes a usable folder; before the first epoch nothing is written."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base
from adapterhub.errors import TrainingError
from adapterhub.progress import Progress
from adapterhub.settings import Settings
from adapterhub.training.config import TrainConfig
from adapterhub.training.run import TrainResult, run_training

STEPS_PER_EPOCH = 4  # 30 rows, 8 a step
Run = Callable[[int], TrainResult]


class Stopper:
    """A progress whose viewer presses Ctrl-C at one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def update(self, completed: int, note: str = "") -> None:
        if completed == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def stopped_at(tiny_config: Callable[..., TrainConfig], tiny_settings: Settings) -> Run:
    """Train up to six epochs, stopped at a step."""
    def run(step: int) -> TrainResult:
        @contextmanager
        def show(title: str, total: int) -> Iterator[Progress]:
            assert total == 6 * STEPS_PER_EPOCH
            yield Stopper(step)

        return run_training(tiny_config(epochs=6, patience=6), tiny_settings, show)
    return run


@pytest.mark.parametrize("step", [STEPS_PER_EPOCH + 1, 3 * STEPS_PER_EPOCH], ids=["in epoch 2", "end of epoch 3"])
def test_best_so_far_is_measured_written_and_checks(step: int, stopped_at: Run, tiny_base: Base) -> None:
    result = stopped_at(step)
    outcome = result.outcome
    assert outcome.is_interrupted
    assert 1 <= outcome.best_epoch <= outcome.epochs_done == (step - 1) // STEPS_PER_EPOCH
    assert result.folder
    folder = read_folder(result.folder)
    check_folder(folder, tiny_base.shapes)
    assert folder.manifest.metric("accuracy", "validation") == outcome.best_value
    assert folder.manifest.metric("accuracy") == result.evaluation.metrics["accuracy"]


def test_stop_before_the_first_epoch_ended_writes_nothing(stopped_at: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="stopped before its first epoch ended; nothing was written"):
        stopped_at(2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interrupt_signal_to_the_command_leaves_a_folder_and_exit_code_2(
        tiny_base_folder: Path, tiny_rows: dict[str, Path], tiny_base: Base, tmp_path: Path) -> None:
    terminal, standard_error = pty.openpty()
    command = [sys.executable, "-m", "adapterhub", "train", "--task", "text-classification", "--data",
               str(tiny_rows["intents3"]), "--base", str(tiny_base_folder), "--output", str(tmp_path / "out"),
               "--max-length", "32", "--epochs", "1000", "--patience", "1000", "--batch-size", "8"]
    environment = {**os.environ, "ADAPTERHUB_CACHE": str(tmp_path / "cache"), "COLUMNS": "160", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=standard_error, env=environment,
                          preexec_fn=listen_to_interrupts) as process:
        os.close(standard_error)
        try:
            shown = read_until(terminal, b"best accuracy", timeout_s=120)  # an epoch has ended: there is a best
            process.send_signal(signal.SIGINT)
            shown += read_until(terminal, b"is kept in", timeout_s=60)
            process.communicate(timeout=60)
        finally:
            process.kill()  # one that never stops shall fail, not hang
    os.close(terminal)
    assert process.returncode == 2, shown.decode()
    assert b"rows/s" in shown
    assert b"Training was stopped" in shown
    check_folder(read_folder(tmp_path / "out"), tiny_base.shapes)


def listen_to_interrupts() -> None:
    """A shell's job in the background is started deaf to them, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def read_until(terminal: int, text: bytes, *, timeout_s: float) -> bytes:
    """Return what a terminal shows, up to the read in which `text` stands or the program has gone."""
    shown, deadline = b"", time.monotonic() + timeout_s
    while text not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # Linux says so when the other side has closed
                break
    return shown
