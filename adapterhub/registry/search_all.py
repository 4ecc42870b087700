"""One question to several registries' indexes: refreshed first, the first registry's names hide the later ones'."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.registry.chain import Registries
from adapterhub.registry.find import Filters, Page, Room, find, fitting
from adapterhub.registry.index import SearchIndex, index_file
from adapterhub.registry.registry import Registry
from adapterhub.registry.search import Listing, read_listing

_ALL = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of adapters, with how many there are on all pages."""

    listings: tuple[Listing, ...]
    total: int


_KEYS: dict[str, Callable[[Listing], tuple[float | str, ...]]] = {
    "name": lambda listing: (listing.path,),
    "newest": lambda listing: (listing.version.published_at, listing.path),
    "size": lambda listing: (listing.version.size_bytes, listing.path),
    "rank": lambda listing: (listing.manifest.method.rank, listing.path),
}


def search_all(registries: Registries, filters: Filters, cache: Path) -> Found:
    """Return a page of what fits in all registries. Raises StorageError where no index can be made."""
    first, *others = registries.members
    end = filters.offset + filters.limit
    page = _ask(first, cache, lambda index: find(index, replace(filters, offset=0, limit=end)))
    listings, total = _listings(first, page), page.total
    for number, registry in enumerate(others, start=1):
        behind = _ask(registry, cache, lambda index: find(index, replace(filters, offset=0, limit=_ALL)))
        shown = [path for path in behind.paths if not any(ahead.has(path) for ahead in registries.members[:number])]
        listings += _listings(registry, Page(paths=tuple(shown), total=len(shown)))
        total += len(shown)
    if others:
        listings.sort(key=_KEYS[filters.sort], reverse=filters.sort == "newest")
    return Found(listings=tuple(listings[filters.offset:end]), total=total)


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
