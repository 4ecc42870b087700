"""The command line as a process: exit codes, closed pipes, Ctrl-C."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from adapter_folders import write_adapter_folder
from tiny import intent_rows, write_rows

from adapterhub.adapter.folder import read_folder
from adapterhub.registry import Registry

TIMEOUT_S = 120


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "ADAPTERHUB_REGISTRY": str(place / "registry"), "ADAPTERHUB_CACHE": str(place / "cache")}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "adapterhub", *map(str, arguments)]


def finished(place: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), env=environment(place), capture_output=True, text=True, check=False,
                          timeout=TIMEOUT_S)


def test_success_is_exit_code_0_with_nothing_on_standard_error(tmp_path: Path) -> None:
    done = finished(tmp_path, "publish", write_adapter_folder(tmp_path / "a"), "support/intents", "--json")
    assert (done.returncode, done.stderr) == (0, "")


def test_refusal_is_exit_code_2_with_one_sentence_on_standard_error(tmp_path: Path) -> None:
    finished(tmp_path, "publish", write_adapter_folder(tmp_path / "a"), "support/intents")
    done = finished(tmp_path, "show", "support/intent")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: No adapter 'support/intent' in ")
    assert done.stderr.count("\n") == 1


def test_missing_setting_is_exit_code_2(tmp_path: Path) -> None:
    done = finished(tmp_path, "train", "--task", "text-classification")
    assert done.returncode == 2
    assert "A run needs data and output" in done.stderr


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("show", "a/b"), ("history", "a/b@production")])
def test_reader_that_goes_away_is_no_fault(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert finished(tmp_path, "publish", write_adapter_folder(tmp_path / "a"), "a/b", "--alias", "production"
                    ).returncode == 0
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command(*arguments), env=environment(tmp_path), stdout=writer, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=TIMEOUT_S)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_best_epoch_of_a_training_that_ctrl_c_stopped_can_be_published(tiny_base_folder: Path, tmp_path: Path) -> None:
    data, output = write_rows(tmp_path / "rows.jsonl", intent_rows(3, 14)), tmp_path / "out"
    arguments = command("train", "--task", "text-classification", "--data", data, "--output", output, "--base",
                        tiny_base_folder, "--max-length", 32, "--epochs", 1000, "--patience", 1000)
    seen = stopped_when(arguments, "best accuracy", environment(tmp_path))
    assert "Training was stopped after step" in seen.text
    assert "Traceback" not in seen.text
    assert seen.exit_code == 2
    assert not output.exists()
    assert finished(tmp_path, "train", "--output", output, "--finish", "--no-report").returncode == 0
    assert read_folder(output).manifest.metric("accuracy") is not None
    assert Registry(tmp_path / "registry").publish(output, "t/stopped").is_new


class Stopped:
    """What a process had shown when it ended."""

    def __init__(self, exit_code: int, text: str) -> None:
        self.exit_code, self.text = exit_code, text


def stopped_when(arguments: list[str], sign: str, environment: dict[str, str]) -> Stopped:
    """Run in a terminal, press Ctrl-C when its progress bar shows `sign`, and read on to the end."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=terminal, close_fds=True,
                               env={**environment, "COLUMNS": "200", "TERM": "xterm"})
    os.close(terminal)
    shown, is_stopped = b"", False
    while part := read_some(master):
        shown += part
        if sign.encode() in shown and not is_stopped:
            process.send_signal(signal.SIGINT)
            is_stopped = True
    os.close(master)
    return Stopped(process.wait(timeout=TIMEOUT_S), shown.decode(errors="replace"))


def read_some(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # Linux says so when the other side is closed
        return b""
