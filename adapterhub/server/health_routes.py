"""`/healthz`, `/readyz` and `/metrics`: what balancers, supervisors and Prometheus ask."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from adapterhub.server.asking import caller_with
from adapterhub.server.errors import Forbidden, Unavailable
from adapterhub.server.metrics import Metrics
from adapterhub.server.replies import OwnError, refusals
from adapterhub.server.service import Caller


class Health(BaseModel):
    """That it lives, or is ready."""

    status: str


def health_routes(metrics: Metrics, is_ready: Callable[[], str | None]) -> APIRouter:
    """Return the routes; `is_ready` says why it is not, or None."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", response_model=Health, summary="Does the process answer?")
    async def healthz() -> Health:
        """Answer as long as the event loop runs."""
        return Health(status="alive")

    @router.get("/readyz", response_model=Health, summary="Should it get requests?",
                responses={503: {"model": OwnError, "description": "Not now."}})
    async def readyz() -> Health:
        """Answer 503 while it ends, or where what computes has stopped."""
        if why := is_ready():
            raise Unavailable(f"The server is not ready: {why}.", hint="Ask another one.")
        return Health(status="ready")

    @router.get("/metrics", response_class=Response, summary="Figures for Prometheus",
                responses={200: {"content": {"text/plain": {}}}, **refusals()})
    async def read_metrics(caller: Annotated[Caller, caller_with("manage")]) -> Response:
        """Return counts, latencies and sizes by adapter, of all namespaces; no text."""
        if not caller.holder.sees_all:
            raise Forbidden("This token has no rights in all namespaces, whose adapters the figures name.",
                            hint="Ask for one with the namespace *.")
        return Response(await asyncio.to_thread(metrics.text), media_type=CONTENT_TYPE_LATEST)
    return router
