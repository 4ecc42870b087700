"""One question to several registries' indexes: refreshed first, the first registry's names hide the later ones'."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from adapterhub.registry.chain import Registries
from adapterhub.registry.find import DESCENDING, Filters, Page, Room, Value, find, fitting
from adapterhub.registry.index import SearchIndex, index_file
from adapterhub.registry.registry import Registry
from adapterhub.registry.search import Listing, read_listing

_ALL = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of adapters, with how many there are on all pages."""

    listings: tuple[Listing, ...]
    total: int


def search_all(registries: Registries, filters: Filters, cache: Path) -> Found:
    """Return a page of what fits in all registries. Raises StorageError where no index can be made.

    Names and what they are sorted by are held of all pages so far; manifests only of this one.
    """
    end = filters.offset + filters.limit
    hits: list[tuple[Value, str, Registry]] = []
    total = 0
    for number, registry in enumerate(registries.members):
        # which of the others' are hidden is only known by their names
        wanted = replace(filters, offset=0, limit=end if number == 0 else _ALL)
        page = _ask(registry, cache, partial(find, filters=wanted))
        ahead = registries.members[:number]
        shown = [(key, path, registry) for key, path in zip(page.keys, page.paths, strict=True)
                 if not any(other.has(path) for other in ahead)]
        hits += shown
        total += page.total if number == 0 else len(shown)
    hits.sort(key=lambda hit: hit[1])
    hits.sort(key=lambda hit: hit[0], reverse=filters.sort in DESCENDING)
    found = (read_listing(registry.store, path) for _, path, registry in hits[filters.offset:end])
    return Found(listings=tuple(listing for listing in found if listing), total=total)


def fitting_all(registries: Registries, room: Room, filters: Filters, cache: Path) -> Found:
    """Return the adapters of the first registry, smallest first, that together fit a server's room."""
    first = registries.own
    listings = _listings(first, _ask(first, cache, lambda index: fitting(index, room, filters)))
    return Found(listings=tuple(listings), total=len(listings))


def _ask(registry: Registry, cache: Path, question: Callable[[SearchIndex], Page]) -> Page:
    index = SearchIndex(registry.store, index_file(cache, registry.store))
    try:
        index.refresh()
        return question(index)
    finally:
        index.close()


def _listings(registry: Registry, page: Page) -> list[Listing]:
    found = (read_listing(registry.store, path) for path in page.paths)
    return [listing for listing in found if listing]
