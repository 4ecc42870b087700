"""The command under Ctrl-C: it says how to go on, and goes on."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base


@pytest.mark.slow
def test_interrupt_to_the_command_keeps_a_checkpoint_and_says_how_to_go_on(
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
            shown += read_until(terminal, b"--finish", timeout_s=60)
            process.communicate(timeout=60)
        finally:
            process.kill()  # one that never stops shall fail, not hang
    os.close(terminal)
    assert process.returncode == 2, shown.decode()
    assert b"rows/s" in shown
    assert b"Training was stopped after step" in shown
    assert not (tmp_path / "out").exists()
    taken = subprocess.run([sys.executable, "-m", "adapterhub", "train", "--output", str(tmp_path / "out"), "--finish"],
                           env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert taken.returncode == 0, taken.stderr
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
