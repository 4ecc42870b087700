"""What every route does with its request: who asks, may they, and their answer before they hang up or time is over."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from adapterhub.errors import DeadlinePassed
from adapterhub.registry import Version
from adapterhub.server.door import until_hang_up
from adapterhub.server.errors import ClientGone, Forbidden
from adapterhub.server.service import Caller

Result = TypeVar("Result")
BEARER = HTTPBearer(auto_error=False, description="A token of `adapterhub token create`; the door checks it.")
VERSION_HEADER, DIGEST_HEADER = "X-Adapter-Version", "X-Adapter-Digest"
_MOST_IN_A_HEADER = 16
"""Versions named in a header; the body names all."""


def caller_with(scope: str) -> Any:
    """Return a dependency that gives the caller, or raises Forbidden where their token lacks a scope."""

    async def caller_of(request: Request, _: Annotated[Any, Depends(BEARER)] = None) -> Caller:
        caller: Caller = request.scope["state"]["caller"]
        if not caller.holder.may(scope):
            raise Forbidden(f"This token may not {scope}.", hint=f"Ask for one with the scope {scope!r}.")
        return caller
    return Depends(caller_of)


async def answered(request: Request, caller: Caller, work: Coroutine[Any, Any, Result], *,
                   limit_s: float | None = None) -> Result:
    """Wait for a request's work; a client that hangs up, or has waited twice its deadline, ends it at once.

    `limit_s` is another limit than that.

    Raises ClientGone, DeadlinePassed; what the work raises.
    """
    task = asyncio.ensure_future(work)
    ends_at = caller.started_at + (limit_s or 2 * (caller.deadline - caller.started_at))
    try:
        async with asyncio.timeout(max(0.0, ends_at - time.monotonic())):
            if not await until_hang_up(request.receive, task):
                raise ClientGone("The client hung up.")
        return task.result()
    except TimeoutError as error:
        raise DeadlinePassed("There was no answer in twice the time that the request was given.",
                             hint="Ask again, or give it more time.") from error
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def version_headers(versions: Iterable[Version | None]) -> dict[str, str]:
    """Return the headers that say which versions answered, each once, in order."""
    named = list({version.digest: version for version in versions if version}.values())[:_MOST_IN_A_HEADER]
    if not named:
        return {}
    return {VERSION_HEADER: ", ".join(version.reference for version in named),
            DIGEST_HEADER: ", ".join(version.digest for version in named)}


def note(request: Request, **facts: object) -> None:
    """Add facts to the request's line in the log; never a text of its rows."""
    request.scope["state"].setdefault("facts", {}).update(facts)
