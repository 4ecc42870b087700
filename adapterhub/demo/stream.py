"""A stream of requests in a thread, so that an alias can move under it."""

import threading
from dataclasses import dataclass, field

from adapterhub.errors import AdapterHubError
from adapterhub.runtime.engine import Runtime


@dataclass(slots=True)
class StreamLog:
    """What a stream saw, in order."""

    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class RequestStream:
    """Asks one reference again and again until it is stopped; a context manager."""

    def __init__(self, runtime: Runtime, reference: str, texts: list[str]) -> None:
        self._runtime, self._reference, self._texts = runtime, reference, texts
        self.log = StreamLog()
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "RequestStream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, n_more: int) -> None:
        """Wait until `n_more` further requests were answered."""
        with self._moved:
            target = len(self.log.versions) + n_more
            self._moved.wait_for(lambda: len(self.log.versions) >= target or bool(self.log.failures), timeout=60)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            text = self._texts[number % len(self._texts)]
            try:
                version = self._runtime.predict([(self._reference, text)])[0].version
                with self._moved:
                    self.log.versions.append(str(version))
                    self._moved.notify_all()
            except AdapterHubError as error:
                with self._moved:
                    self.log.failures.append(str(error))
                    self._moved.notify_all()
            number += 1
