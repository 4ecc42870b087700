"""The event loop's side of following: what rows' references mean, and rights in their namespaces."""

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterHubError, AdapterNotFound
from adapterhub.registry import Version
from adapterhub.server.errors import Forbidden
from adapterhub.server.follow import Follower
from adapterhub.server.logs import log
from adapterhub.server.tokens import Holder

_IDLE_S = 30.0
"""A reference that nobody asked for this long is looked up when it is asked for again."""
_MOST_AT_ONCE = 32
"""References looked up ahead in one round; the others when they are asked for."""
Versions = dict[str | None, Version | AdapterHubError | None]


class Lookup:
    """References to versions, without ever blocking the event loop."""

    def __init__(self, follower: Follower, follow_s: float, n_threads: int = 4) -> None:
        self._follower, self._follow_s = follower, follow_s
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="adapterhub-lookup")
        self._under_way: dict[str, asyncio.Future[Version]] = {}

    async def versions(self, references: Iterable[str | None], holder: Holder) -> Versions:
        """Return each reference's version, or what is wrong with it; None is the bare base."""
        found: Versions = {None: None}
        waiting: dict[str, asyncio.Future[Version]] = {}
        for reference in references:
            if reference is None or reference in found or reference in waiting:
                continue
            try:
                _require_right(reference, holder)
            except AdapterHubError as error:
                found[reference] = error
                continue
            known = self._follower.known(reference)
            if known is None:
                waiting[reference] = self._look(reference)
            else:
                found[reference] = known
        for reference, future in waiting.items():
            try:
                found[reference] = await asyncio.shield(future)
            except AdapterHubError as error:
                found[reference] = _for_holder(error, reference, holder)
        return found

    async def version(self, reference: str, holder: Holder) -> Version:
        """Return one reference's version. Raises what is wrong with it."""
        found = (await self.versions([reference], holder))[reference]
        if isinstance(found, AdapterHubError):
            raise found
        assert found is not None, "only no reference has no version"
        return found

    async def follow(self) -> None:
        """Look up references in use again and again, so that no request waits for it; ends when it is cancelled."""
        while True:
            await asyncio.sleep(self._follow_s / 2)
            stale = self._follower.stale(n_most=1000, idle_s=_IDLE_S)
            changed = [reference for reference in stale if not self._follower.renew(reference)][:_MOST_AT_ONCE]
            # What is wrong is told to who asks next, or stands in the log; following goes on.
            await asyncio.gather(*map(self._look, changed), return_exceptions=True)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _look(self, reference: str) -> "asyncio.Future[Version]":
        """Look a reference up in a thread, once for all who wait for it."""
        future = self._under_way.get(reference)
        if future is None:
            future = asyncio.get_running_loop().run_in_executor(self._threads, self._follower.look, reference)
            self._under_way[reference] = future
            future.add_done_callback(lambda done: self._end(reference, done))
        return future

    def _end(self, reference: str, done: "asyncio.Future[Version]") -> None:
        self._under_way.pop(reference, None)
        error = None if done.cancelled() else done.exception()  # asked for, so that asyncio does not complain
        if error is not None and not isinstance(error, AdapterHubError):
            log("a lookup failed", level=logging.ERROR, error=error)


def _require_right(reference: str, holder: Holder) -> None:
    namespace = Reference.parse(reference).namespace
    if not holder.sees(namespace):
        raise Forbidden(f"This token has no rights in the namespace {namespace!r}.",
                        hint="Ask for a token with that namespace.")


def _for_holder(error: AdapterHubError, reference: str, holder: Holder) -> AdapterHubError:
    """Return an error without what is not the caller's: other namespaces' names, and where the registry lies."""
    if not isinstance(error, AdapterNotFound):
        return error
    near = [name for name in error.near if holder.sees(name.partition("/")[0])]
    return AdapterNotFound(reference, where="this server's registry", near=near,
                           hint="" if near else "GET /v1/models lists what there is.")
