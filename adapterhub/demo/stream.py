"""A stream of requests in a thread, so that an alias can move under it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from adapterhub.demo.figures import Phase
from adapterhub.errors import PredictionError
from adapterhub.runtime.engine import Runtime

PATIENCE_S = 60.0
"""Seconds in which the requests that are waited for must be answered."""


@dataclass(slots=True)
class StreamLog:
    """What a stream saw, in order."""

    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def phases(self) -> list[Phase]:
        """Return the runs of requests that one version answered."""
        found: list[Phase] = []
        for version, run in groupby(self.versions):
            first = found[-1].last + 1 if found else 1
            found.append(Phase(version=version, first=first, last=first + len(list(run)) - 1))
        return found


class RequestStream:
    """Asks one reference again and again until it is stopped; a context manager."""

    def __init__(self, runtime: Runtime, reference: str, texts: Sequence[str]) -> None:
        self._runtime, self._reference, self._texts = runtime, reference, texts
        self.log = StreamLog()
        self._stop = threading.Event()
        self._moved = threading.Condition()  # guards the log
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "RequestStream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, n_more: int) -> None:
        """Wait until `n_more` further requests were answered, or one failed. Raises PredictionError where none is."""
        with self._moved:
            target = len(self.log.versions) + n_more
            if not self._moved.wait_for(lambda: len(self.log.versions) >= target or bool(self.log.failures),
                                        timeout=PATIENCE_S):
                raise PredictionError(f"{n_more} requests were not answered within {PATIENCE_S:.0f} s.",
                                      hint="Try again when the machine is less busy.")

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            text = self._texts[number % len(self._texts)]
            try:
                version = str(self._runtime.predict([(self._reference, text)])[0].version)
            except Exception as error:  # whatever it is, the stream is there to count it
                self._note(self.log.failures, f"{type(error).__name__}: {error}")
            else:
                self._note(self.log.versions, version)
            number += 1

    def _note(self, where: list[str], what: str) -> None:
        with self._moved:
            where.append(what)
            self._moved.notify_all()
