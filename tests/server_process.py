"""`adapterhub serve` as a process of its own, in a home below one folder: registry, cache, tokens, feedback."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from running_server import wait_until

START_S = 120
"""Torch alone takes some seconds to import on a machine with much else to do."""


class Process:
    """One server process, its log and its address."""

    def __init__(self, place: Path, base: Path, *arguments: object, socket_number: int | None = None) -> None:
        environment = {**os.environ, "ADAPTERHUB_REGISTRY": str(place / "registry"),
                       "ADAPTERHUB_CACHE": str(place / "cache"), "ADAPTERHUB_TOKENS": str(place / "tokens"),
                       "ADAPTERHUB_FEEDBACK": str(place / "feedback.sqlite3")}
        self._lines: list[dict[str, Any]] = []
        command = [sys.executable, "-m", "adapterhub", "serve", "--base", str(base), "--port", "0",
                   *map(str, arguments)]
        passed_on: tuple[int, ...] = ()
        if socket_number is not None:  # as systemd passes a socket on: number 3, for this process alone
            passed_on = (socket_number,)
            command = ["bash", "-c", f'exec 3<&{socket_number}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "bash", *command]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, pass_fds=passed_on)
        self.told: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log; every line of it is JSON."""
        return [json.loads(line) for line in self.told]

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event and return it."""
        def found() -> list[dict[str, Any]]:
            assert self.process.poll() is None or name in str(self.told), self.told
            return [event for event in self.events if event["event"] == name]
        wait_until(found, START_S)
        return found()[0]

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        return str(self.event("serving")["url"])

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        code = self.process.wait(START_S)
        self._reader.join()
        return code

    def stop(self) -> None:
        """End it, however it stands."""
        self.process.kill()
        self.end()
        assert self.process.stdout is not None
        self.process.stdout.close()
        if self.process.stderr is not None:
            self.process.stderr.close()
