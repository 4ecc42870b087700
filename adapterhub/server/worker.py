"""A thread that works until it is closed, and sleeps while there is nothing to do. It knows no work."""

import threading
from abc import ABC, abstractmethod


class Worker(ABC):
    """One thread and the condition that wakes it; `_wakes` guards what the subclass shares with it."""

    def __init__(self, name: str) -> None:
        self._wakes = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name=f"adapterhub-{name}", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """End the thread after the work at hand; what still waits is cancelled."""
        with self._wakes:
            self._is_closed = True
            self._wakes.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @abstractmethod
    def _work(self) -> None:
        """Work until `_is_closed`."""
