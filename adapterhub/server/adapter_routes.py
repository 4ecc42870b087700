"""`/v1/adapters` and `/v1/statistics`: what there is, what is loaded, and loading, pinning, unloading by hand."""

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from adapterhub.errors import VersionYanked
from adapterhub.registry import Version
from adapterhub.server.asking import caller_with
from adapterhub.server.house import House
from adapterhub.server.replies import refusals
from adapterhub.server.service import Caller
from adapterhub.server.tokens import Holder

ReferencePath = Annotated[str, Path(examples=["support/banking77@1"])]
_MOST = 1000


class AdapterBody(BaseModel):
    """One adapter by its latest version."""

    adapter: str
    version: int
    digest: str
    task: str
    n_labels: int
    aliases: dict[str, int]
    size_bytes: int
    published_at: str
    is_resident: bool


class AdapterList(BaseModel):
    """Adapters, sorted by name; `next` is what to give as `after` for those that follow."""

    adapters: list[AdapterBody]
    next: str | None


class VersionBody(BaseModel):
    """The version that a reference means just now, and whether it is in a slot."""

    adapter: str
    version: str
    digest: str
    is_resident: bool
    is_pinned: bool


class StatisticsBody(BaseModel):
    """What was done so far, what is loaded, and which references cannot follow."""

    base: str
    runtime: dict[str, float]
    queue: dict[str, float]
    pinned: dict[str, str]
    problems: list[dict[str, str | None]]
    n_in_flight: int


def adapter_routes(house: House) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["adapters"], responses=refusals())

    @router.get("/v1/adapters", summary="List the adapters there are")
    async def list_adapters(caller: Annotated[Caller, caller_with("predict")],
                            after: Annotated[str, Query(max_length=300)] = "",
                            limit: Annotated[int, Query(ge=1, le=_MOST)] = 100) -> AdapterList:
        """Only those of the token's namespaces; none has to be loaded to be asked."""
        resident = await asyncio.to_thread(house.residents.digests)
        found = [listing for listing in await house.catalogue.listings(caller.holder) if listing.path > after]
        shown = [AdapterBody(adapter=listing.path, version=listing.version.version, digest=listing.version.digest,
                             task=listing.manifest.task, n_labels=len(listing.manifest.labels),
                             aliases=listing.aliases, size_bytes=listing.version.size_bytes,
                             published_at=listing.version.published_at,
                             is_resident=listing.version.digest in resident) for listing in found[:limit]]
        return AdapterList(adapters=shown, next=shown[-1].adapter if len(found) > limit else None)

    @router.post("/v1/adapters/{reference:path}/load", summary="Load an adapter ahead of its first row")
    async def load(reference: ReferencePath, caller: Annotated[Caller, caller_with("manage")]) -> VersionBody:
        """Nothing has to be loaded first; this only takes the milliseconds from the first request."""
        version = await house.lookup.version(reference, caller.holder)
        await asyncio.to_thread(house.residents.load, version)
        return await _told(house, reference, version)

    @router.post("/v1/adapters/{reference:path}/pin", summary="Keep an adapter resident")
    async def pin(reference: ReferencePath, caller: Annotated[Caller, caller_with("manage")]) -> VersionBody:
        """The pin follows its reference: when the alias moves, the new version is pinned instead."""
        version = await house.lookup.version(reference, caller.holder)
        await asyncio.to_thread(house.residents.pin, reference, version)
        return await _told(house, reference, version)

    @router.post("/v1/adapters/{reference:path}/unpin", summary="Let a pinned adapter leave again")
    async def unpin(reference: ReferencePath, caller: Annotated[Caller, caller_with("manage")]) -> VersionBody:
        """Name it as it was pinned."""
        with suppress(VersionYanked):  # what was pinned may have been yanked since
            await house.lookup.version(reference, caller.holder)
        return await _told(house, reference, await asyncio.to_thread(house.residents.unpin, reference))

    @router.post("/v1/adapters/{reference:path}/unload", summary="Free an adapter's slot now")
    async def unload(reference: ReferencePath, caller: Annotated[Caller, caller_with("manage")]) -> VersionBody:
        """The next request for it loads it again; a pinned one is refused."""
        version = await house.lookup.version(reference, caller.holder)
        await asyncio.to_thread(house.residents.unload, version)
        return await _told(house, reference, version)

    @router.get("/v1/statistics", summary="What was done so far, and how it stands")
    async def statistics(caller: Annotated[Caller, caller_with("manage")]) -> StatisticsBody:
        """References and problems are those of the token's namespaces."""
        if house.rows is not None:
            done = asdict(await asyncio.to_thread(house.rows.runtime.statistics))
            queue = asdict(house.rows.batcher.state())
        else:
            done, queue = asdict(await asyncio.to_thread(house.require_writing().generator.statistics)), {}
        sees = _sees(caller.holder)
        pins = await asyncio.to_thread(house.residents.pins)
        return StatisticsBody(
            base=house.base_id, runtime=done, queue=queue,
            pinned={reference: version.reference for reference, version in pins.items() if sees(reference)},
            problems=[asdict(problem) for problem in house.follower.problems() if sees(problem.reference)],
            n_in_flight=house.door.n_in_flight)
    return router


def _sees(holder: Holder) -> Any:
    return lambda reference: holder.sees(reference.partition("/")[0])


async def _told(house: House, reference: str, version: Version) -> VersionBody:
    resident, pins = await asyncio.gather(asyncio.to_thread(house.residents.digests),
                                          asyncio.to_thread(house.residents.pins))  # both may wait for a pass
    return VersionBody(adapter=reference, version=version.reference, digest=version.digest,
                       is_resident=version.digest in resident, is_pinned=reference in pins)
