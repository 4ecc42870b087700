"""How answers are written: JSON, fast; and which refusals every route states in the OpenAPI page."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.responses import Response
from pydantic import BaseModel


class OwnError(BaseModel):
    """An error in adapterhub's own form: kind, status, message, hint and, where one is at fault, field."""

    error: dict[str, Any]


class HubError(BaseModel):
    """An error in the Hugging Face inference form."""

    error: str
    error_type: str


class OpenAIErrorBody(BaseModel):
    """An error as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """An error in OpenAI's form."""

    error: OpenAIErrorBody


_REFUSALS: Mapping[int, str] = {
    400: "The request cannot be read; the field is named.", 401: "No token, or one that is not known.",
    403: "The token has no right to this.", 404: "No such adapter; near names are given.",
    408: "The body came too slowly.", 409: "The adapter cannot be served: another base, damaged, yanked.",
    413: "Too many bytes or rows.", 422: "The row is none for the adapter's task.",
    429: "Too much at once; Retry-After says when.", 503: "Not just now; Retry-After says when.",
}


def refusals(form: type[BaseModel] = OwnError) -> dict[int | str, dict[str, Any]]:
    """Return what a route may refuse with, for the OpenAPI page."""
    return {status: {"model": form, "description": what} for status, what in _REFUSALS.items()}


def streamed(answer: type[BaseModel] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return that a route answers with JSON of a form, or of any, or with server-sent events, for the OpenAPI page."""
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    if answer is None:
        return {200: {"description": "JSON, or events.", "content": {"application/json": {}, **events}}}
    return {200: {"model": answer, "description": "JSON, or events.", "content": events}}


def json_reply(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return plain values as JSON."""
    return Response(orjson.dumps(body), status_code=status, headers=dict(headers or {}), media_type="application/json")
