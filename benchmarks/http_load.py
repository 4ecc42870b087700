"""Load over HTTP from one process: raw HTTP/1.1 on kept connections, so that the client takes little of the machine.

Closed: so many connections, each asks again when it is answered. Open: requests leave when their time has come,
whatever was answered.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; status 0: none came."""

    status: int
    seconds: float
    body: bytes
    headers: str

    @property
    def json(self) -> Any:
        """The body as a value."""
        return json.loads(self.body)


class Connection:
    """One kept connection to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, timeout_s: float = 120.0) -> Reply:
        """Send a request and wait for its answer."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port)
                reader, writer = self._streams
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = {name.lower(): value for name, _, value in
                          (line.partition(": ") for line in head.split("\r\n")[1:] if line)}
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                if fields.get("connection") == "close":
                    self.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.close()
            return Reply(0, time.perf_counter() - started, b"", "")
        return Reply(int(head.split(" ", 2)[1]), time.perf_counter() - started, body, head)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request_of(path: str, body: Any, **headers: str) -> bytes:
    """Return a POST of JSON, as it goes over the wire."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: loopback", "Content-Type: application/json",
             f"Content-Length: {len(data)}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


@dataclass(frozen=True, slots=True)
class Load:
    """What came back, and how long it took in all."""

    replies: list[Reply]
    seconds: float

    @property
    def answered(self) -> list[Reply]:
        """Those with status 200."""
        return [reply for reply in self.replies if reply.status == 200]

    @property
    def per_s(self) -> float:
        """Requests answered per second."""
        return len(self.answered) / self.seconds


def closed_loop(url: str, next_request: Callable[[], bytes], *, n_connections: int, seconds: float) -> Load:
    """Ask on so many connections, each again as soon as it is answered, for some time."""

    async def run() -> Load:
        replies: list[Reply] = []
        started = time.perf_counter()

        async def ask() -> None:
            connection = Connection(url)
            while time.perf_counter() - started < seconds:
                replies.append(await connection.ask(next_request()))
            connection.close()
        await asyncio.gather(*(ask() for _ in range(n_connections)))
        return Load(replies, time.perf_counter() - started)
    return asyncio.run(run())


def open_loop(url: str, schedule: Sequence[tuple[float, bytes]]) -> Load:
    """Send each request at its time, in seconds from now, on a free connection or a new one."""

    async def run() -> Load:
        replies: list[Reply] = []
        free: deque[Connection] = deque()
        started = time.perf_counter()

        async def ask(request: bytes) -> None:
            connection = free.pop() if free else Connection(url)
            replies.append(await connection.ask(request))
            free.append(connection)
        tasks = []
        for at, request in schedule:
            if (wait := at - (time.perf_counter() - started)) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.ensure_future(ask(request)))
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - started
        for connection in free:
            connection.close()
        return Load(replies, seconds)
    return asyncio.run(run())
