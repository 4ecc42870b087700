"""Connections that say nothing, or not all of it, are closed after a while; the system is asked for room for many."""

import asyncio
import contextlib
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES = 512 << 10
"""Sent before a request's head is whole; the system hands over up to 256 KiB at once, in which a body may begin."""


def protocol_with_patience(head_s: float) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol, which waits for a request's head for ever, so that it waits no longer than this."""
    return type("Patient", (_Patient,), {"head_s": head_s})


class _Patient(HttpToolsProtocol):
    """Closes a connection whose first request's head, or a begun later one, is not whole in time or too large."""

    head_s: float
    _timer: asyncio.TimerHandle | None = None
    _n_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head goes on for too long: no other limit holds before it is whole."""
        super().data_received(data)
        if self._timer is not None:
            self._n_bytes += len(data)
            if self._n_bytes > _MOST_HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        if self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Wait no more: the body has a limit of its own."""
        self._stop()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._n_bytes = 0
        self._timer = self.loop.call_later(self.head_s, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def allow_many_connections() -> None:
    """Raise this process's limit of open files to what the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
