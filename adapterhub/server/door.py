"""The door: every request gets an id, a caller and a clock; bodies are bounded; every answer is counted and logged."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapterhub.errors import AdapterHubError
from adapterhub.server.answered import new_request_id
from adapterhub.server.config import ServerConfig
from adapterhub.server.errors import (
    BadRequest,
    BodyTooLarge,
    BodyTooSlow,
    InternalFault,
    Unauthorized,
    Unavailable,
    error_response,
)
from adapterhub.server.logs import log
from adapterhub.server.metrics import Metrics
from adapterhub.server.service import Caller
from adapterhub.server.tokens import ANYBODY, Holder, Tokens
from adapterhub.server.tracing import RequestTrace, Tracer

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What a balancer asks: no token, and answered while the server ends."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_DEADLINE = 10
"""A request may ask for so many times the usual deadline."""
_UNFOUND = "none"


@dataclass(slots=True, kw_only=True)
class DoorState:
    """What the door decides by, and what it counts."""

    config: ServerConfig
    tokens: Tokens
    metrics: Metrics
    needs_tokens: bool
    tracer: Tracer | None = None
    """None where no traces are made."""
    is_draining: bool = False
    is_handing_over: bool = False
    """Whether another process listens on the same socket: then what still comes here while it ends is answered."""
    n_in_flight: int = 0

    def holder_of(self, authorization: str) -> Holder:
        """Return who sends this header. Raises Unauthorized."""
        if not self.needs_tokens:
            self.needs_tokens = self.tokens.has_any()  # once there was a token, never again without one
        if not self.needs_tokens:
            return ANYBODY
        scheme, _, token = authorization.partition(" ")
        holder = self.tokens.holder_of(token.strip()) if scheme.lower() == "bearer" else None
        if holder is None:
            told = "The token is not known, or its time is over." if authorization else "The request has no token."
            raise Unauthorized(told, hint="Send `Authorization: Bearer <token>`; `adapterhub token create` makes one.")
        return holder


class Door:
    """ASGI middleware around every route."""

    def __init__(self, app: ASGIApp, state: DoorState) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it in the form of its address."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send, self._state)
        self._state.n_in_flight += 1
        self._state.metrics.in_flight.inc()
        try:
            scope.setdefault("state", {})["caller"] = self._admit(scope, visit)
            await self._app(scope, self._bounded(scope, receive), visit.send)
        except AdapterHubError as error:
            await visit.refuse(error, receive)
        except Exception as error:
            log("a request failed", level=logging.ERROR, error=error, request_id=visit.request_id)
            await visit.refuse(InternalFault("The server failed at this request.",
                                             hint="The log says what it was, under this request's id."), receive)
        finally:
            self._state.n_in_flight -= 1
            self._state.metrics.in_flight.dec()
            visit.end()

    def _admit(self, scope: Scope, visit: "_Visit") -> Caller | None:
        if scope["path"] in OPEN_PATHS:
            return None
        if self._state.is_draining and not self._state.is_handing_over:
            raise Unavailable("The server is ending.", hint="Ask another one, or this address again in a moment.")
        visit.holder = holder = self._state.holder_of(visit.headers.get(b"authorization", b"").decode("latin-1"))
        limit = self._state.config.limits.body_bytes
        length = visit.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise BodyTooLarge(f"The body has {int(length):,} bytes, {limit:,} are allowed.",
                               hint="Ask in several requests.")
        limits = self._state.config.limits
        asked_s = self._asked_s(visit.headers.get(b"x-deadline-ms"))
        return Caller(holder=holder, request_id=visit.request_id, started_at=visit.started_at,
                      deadline=visit.started_at + (asked_s or limits.deadline_s), writes_s=asked_s or limits.writes_s,
                      trace=visit.trace)

    def _asked_s(self, given: bytes | None) -> float | None:
        usual = self._state.config.limits.deadline_s
        if given is None:
            return None
        if not given.isdigit() or len(given) > 9 or int(given) == 0:
            raise BadRequest(f"X-Deadline-Ms is {given[:40].decode('latin-1')!r}, expected whole milliseconds above 0.",
                             field="X-Deadline-Ms", hint="Leave it out for the usual deadline.")
        return min(int(given) / 1000, usual * _LONGEST_DEADLINE)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Return `receive` that gives up on a body that is too large or too slow."""
        limits = self._state.config.limits
        n_bytes, is_whole = 0, False
        ends_at = asyncio.get_running_loop().time() + limits.body_s

        async def bounded() -> Message:
            nonlocal n_bytes, is_whole
            if is_whole:
                return await receive()
            try:
                async with asyncio.timeout_at(ends_at):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTooSlow(f"The body did not come within {limits.body_s:g} seconds.",
                                  hint="Send it in one go.") from error
            n_bytes += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if n_bytes > limits.body_bytes:
                raise BodyTooLarge(f"The body has more than the {limits.body_bytes:,} bytes that are allowed.",
                                   hint="Ask in several requests.")
            return message
        return bounded


class _Visit:
    """One request on its way: what is known of it, and what was answered."""

    def __init__(self, scope: Scope, send: Send, state: DoorState) -> None:
        self._scope, self._send, self._state = scope, send, state
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"").decode("latin-1")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else new_request_id()
        self.started_at = time.monotonic()
        self.holder: Holder | None = None
        self.trace: RequestTrace | None = None
        if state.tracer is not None and scope["path"] not in OPEN_PATHS:
            self.trace = state.tracer.begin(self.headers, self.started_at)
        self.status: int | None = None
        self._refused: str | None = None

    async def send(self, message: Message) -> None:
        """Pass an answer on, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [(b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff")]
            if self._state.is_draining:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await self._send(message)

    async def refuse(self, error: AdapterHubError, receive: Receive) -> None:
        """Answer with an error, where nothing was answered yet."""
        self._refused = type(error).__name__
        if self.status is None:
            await error_response(error, self._scope["path"])(self._scope, receive, self.send)

    def end(self) -> None:
        """Count and log the request: who, what address, how long; no text."""
        seconds = time.monotonic() - self.started_at
        route = getattr(self._scope.get("route"), "path", _UNFOUND)
        status = self.status or 499
        self._state.metrics.request(route, status, seconds)
        facts: MutableMapping[str, Any] = self._scope.get("state", {}).get("facts", {})
        if self._refused:
            facts = {**facts, "error": self._refused}
        if self.trace:
            self.trace.end(self._scope["method"], route, status, {**facts, "request_id": self.request_id})
        log("request", level=logging.DEBUG if self._scope["path"] in OPEN_PATHS else logging.INFO,
            request_id=self.request_id, method=self._scope["method"], route=route, status=status,
            ms=round(1000 * seconds, 1), token=self.holder.id if self.holder else None, **facts)


async def until_hang_up(receive: Callable[[], Awaitable[Message]], work: "asyncio.Future[Any]") -> bool:
    """Wait for `work`; True once it is done, False where the client hung up before."""
    watcher = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({work, watcher}, return_when=asyncio.FIRST_COMPLETED)
        return work.done()
    finally:
        watcher.cancel()


async def _hung_up(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
