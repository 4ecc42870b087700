"""Connections that say nothing, or not all of it, are closed after a while; the system is asked for room for many."""

import asyncio
import contextlib
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def protocol_with_patience(head_s: float) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol, which waits for a request's head for ever, so that it waits no longer than this."""

    class Patient(HttpToolsProtocol):
        """Closes a connection whose first request's head, or a begun later one, is not whole in time."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            """Begin to wait for the first request."""
            super().connection_made(transport)
            self._wait()

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
            self._timer = self.loop.call_later(head_s, self.transport.close)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
    return Patient


def allow_many_connections() -> None:
    """Raise this process's limit of open files to what the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
