"""The application: the door, the routes, and how every fault is told. It starts and ends what works behind them."""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from adapterhub.errors import AdapterHubError
from adapterhub.server.adapter_routes import adapter_routes
from adapterhub.server.completion_routes import completion_routes
from adapterhub.server.door import Door
from adapterhub.server.errors import BadRequest, NoSuchRoute, error_response
from adapterhub.server.feedback_routes import feedback_routes
from adapterhub.server.health_routes import health_routes
from adapterhub.server.house import House
from adapterhub.server.huggingface_routes import huggingface_routes
from adapterhub.server.logs import log
from adapterhub.server.openai_routes import openai_routes
from adapterhub.server.predict_routes import predict_routes

_WHAT = """One frozen base, many adapters: each row of a request names its own, by `namespace/name`, with `@3`,
`@production` or `@sha256:...` behind it where it shall be a certain version. Nothing has to be loaded first."""


def create_app(house: House) -> FastAPI:
    """Return the application over a house that is built; it runs while the application does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        house.start()
        following = asyncio.create_task(house.lookup.follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await asyncio.to_thread(house.close)

    app = FastAPI(title="adapterhub", version=importlib.metadata.version("adapterhub"), description=_WHAT,
                  lifespan=lifespan, redoc_url=None)
    app.add_exception_handler(AdapterHubError, _tell)
    app.add_exception_handler(RequestValidationError, _tell)
    app.add_exception_handler(HTTPException, _tell)
    app.add_middleware(Door, state=house.door)
    app.state.house = house
    app.include_router(health_routes(house.metrics, house.why_not_ready))
    app.include_router(predict_routes(house))
    app.include_router(huggingface_routes(house))
    app.include_router(openai_routes(house))
    app.include_router(completion_routes(house))
    app.include_router(adapter_routes(house))
    app.include_router(feedback_routes(house))
    return app


_KINDS = frozenset({"str", "int", "float", "bool"})
"""What pydantic puts into a place where a value may be of several kinds, such as `list[str]`."""


async def _tell(request: Request, error: Exception) -> Response:
    """Answer with a fault, in the form that the address's clients read."""
    fault = _as_ours(error)
    request.scope["state"].setdefault("facts", {})["error"] = type(fault).__name__
    return error_response(fault, request.url.path)


def _as_ours(error: Exception) -> AdapterHubError:
    if isinstance(error, AdapterHubError):
        return error
    if isinstance(error, RequestValidationError):
        return _bad_field(error)
    assert isinstance(error, HTTPException), "only these are registered"
    if isinstance(error.__cause__, AdapterHubError):  # FastAPI wraps what reading the body raises
        return error.__cause__
    if error.status_code == 400:
        return BadRequest("The body cannot be read.", field="body", hint="Send JSON in UTF-8.")
    if error.status_code in (404, 405):
        what = "address" if error.status_code == 404 else "method for this address"
        return NoSuchRoute(f"There is no such {what}.", status=error.status_code, hint="See /docs.",
                           allowed=(error.headers or {}).get("Allow", ""))
    log("a refusal of the framework", level=logging.WARNING, status=error.status_code)
    return NoSuchRoute(str(error.detail), status=error.status_code)


def _bad_field(error: RequestValidationError) -> BadRequest:
    """Return the first fault of a body, with its place in it."""
    faults = error.errors()
    # Of a value that may be of several kinds, the fault of the kind that it has says more than that it has no other.
    first = next((fault for fault in faults if not str(fault.get("type", "")).endswith("_type")), faults[0])
    place = [str(part) for part in first.get("loc", ()) if str(part) not in _KINDS and "[" not in str(part)]
    field = ".".join(place[1:] if place[:1] == ["body"] and len(place) > 1 else place)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    told = str(first.get("msg", "it cannot be read")).removeprefix("Value error, ")
    return BadRequest(f"{field}: {told}{more}.", field=field, hint="See /docs for what the request takes.")
