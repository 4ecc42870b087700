"""Stopping on request: Ctrl-C or SIGTERM let the step that runs end; a second Ctrl-C stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether someone asked for the run to stop."""

    def __init__(self) -> None:
        self.is_made = False

    def make(self, number: int, frame: FrameType | None) -> None:
        """Note the wish; Ctrl-C goes back to what it did before, for those who will not wait."""
        self.is_made = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield a request that Ctrl-C and SIGTERM make; outside the main thread, where none arrive, it is never made."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.make) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
