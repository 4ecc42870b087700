"""What a fault is over HTTP: its status and its form. Only this file knows statuses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from adapterhub.errors import (
    AdapterHubError,
    AdapterNotFound,
    BaseMismatch,
    Cancelled,
    DataError,
    DeadlinePassed,
    InvalidConfig,
    InvalidFolder,
    InvalidReference,
    NoRoom,
    PredictionError,
    RankTooLarge,
    StorageError,
    UnknownName,
    VersionYanked,
)


class BadRequest(AdapterHubError):
    """A request that cannot be read; `field` says where."""

    def __init__(self, message: str, *, field: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field


class Unauthorized(AdapterHubError):
    """A request without a token that is known here."""


class Forbidden(AdapterHubError):
    """A token that has no right to this."""


class NoSuchRoute(AdapterHubError):
    """An address or a method that the server does not know."""

    def __init__(self, message: str, *, status: int, hint: str = "", allowed: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status, self.allowed = status, allowed


class Conflict(AdapterHubError):
    """Something that does not go with how things stand: to unload what is pinned."""


class UnknownAnswer(AdapterHubError):
    """An answer id that means nothing here, or no longer."""


class UnfitFeedback(BadRequest):
    """Feedback that does not go with its answer: a label that the adapter does not have."""


class BodyTooLarge(AdapterHubError):
    """A request with more bytes, rows or tokens than it may have."""


class BodyTooSlow(AdapterHubError):
    """A request whose body did not come in time."""


class TooBusy(AdapterHubError):
    """More than can be answered in time, or more than this holder may ask for."""

    def __init__(self, message: str, *, retry_after_s: float, hint: str = "") -> None:
        super().__init__(message, hint=hint or "Ask again later (Retry-After says when).")
        self.retry_after_s = retry_after_s


class Unavailable(AdapterHubError):
    """A server that is ending, or not ready yet."""


class ClientGone(AdapterHubError):
    """A client that hung up before its answer was there; nobody reads this."""


class InternalFault(AdapterHubError):
    """A fault of the server's own; what it is stands in the log."""


_STATUS: tuple[tuple[type[AdapterHubError], int], ...] = (
    (UnfitFeedback, 422), (BadRequest, 400), (InvalidReference, 404), (UnknownName, 400), (InvalidConfig, 400),
    (Unauthorized, 401), (Forbidden, 403), (AdapterNotFound, 404), (UnknownAnswer, 404), (BodyTooSlow, 408),
    (Conflict, 409), (BaseMismatch, 409), (InvalidFolder, 409), (RankTooLarge, 409), (VersionYanked, 409),
    (BodyTooLarge, 413), (TooBusy, 429), (DeadlinePassed, 429),
    (NoRoom, 503), (Unavailable, 503), (StorageError, 503), (Cancelled, 503),
    (PredictionError, 422), (DataError, 422),
    (InternalFault, 500), (ClientGone, 499),
)
"""Looked through in order: a class comes before the one it is made of."""
RETRYABLE = frozenset({429, 503})


def status_of(error: AdapterHubError) -> int:
    """Return the HTTP status of a fault."""
    if isinstance(error, NoSuchRoute):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 422)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as every form tells it."""

    status: int
    kind: str
    message: str
    hint: str
    field: str | None
    retry_after_s: float | None
    allowed: str
    """Methods of the address, where another was used."""

    @classmethod
    def of(cls, error: AdapterHubError) -> "Fault":
        """Take what a caller may know from an error."""
        status = status_of(error)
        wait = getattr(error, "retry_after_s", None)
        return cls(status=status, kind=type(error).__name__, message=error.message, hint=error.hint,
                   field=getattr(error, "field", None), allowed=getattr(error, "allowed", ""),
                   retry_after_s=1.0 if wait is None and status in RETRYABLE else wait)

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, how to prove who one is, which methods there are."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s + 0.499)))}
        headers |= {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return headers | ({"Allow": self.allowed} if self.allowed else {})

    def to_dict(self) -> dict[str, Any]:
        """Return the fault as plain values, in adapterhub's own form."""
        told: dict[str, Any] = {"kind": self.kind, "status": self.status, "message": self.message, "hint": self.hint}
        return told | ({"field": self.field} if self.field else {})


def error_response(error: AdapterHubError, path: str) -> Response:
    """Return a fault in the form that the clients of this address read."""
    fault = Fault.of(error)
    # In ASCII: what it quotes may hold half a character, which UTF-8 cannot.
    return Response(json.dumps(_form_of(path)(fault)), status_code=fault.status, headers=fault.headers,
                    media_type="application/json")


def error_event(error: AdapterHubError, path: str) -> str:
    """Return a fault as the last event of a stream that has begun."""
    return f"data: {json.dumps(_form_of(path)(Fault.of(error)))}\n\n"


def _form_of(path: str) -> Any:
    if path.startswith("/models/"):
        return _huggingface
    return _openai if path.startswith(OPENAI_ROUTES) else _own


OPENAI_ROUTES = ("/v1/models", "/v1/chat/", "/v1/completions", "/v1/embeddings")


def _own(fault: Fault) -> Mapping[str, Any]:
    return {"error": fault.to_dict()}


def _huggingface(fault: Fault) -> Mapping[str, Any]:
    kind = {422: "validation", 429: "overloaded", 503: "overloaded", 400: "validation"}.get(fault.status, "generation")
    return {"error": f"{fault.message} {fault.hint}".strip(), "error_type": kind}


def _openai(fault: Fault) -> Mapping[str, Any]:
    kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
            500: "server_error", 503: "server_error"}.get(fault.status, "invalid_request_error")
    code = "model_not_found" if fault.kind == "AdapterNotFound" else fault.kind
    return {"error": {"message": f"{fault.message} {fault.hint}".strip(), "type": kind, "param": fault.field,
                      "code": code}}
