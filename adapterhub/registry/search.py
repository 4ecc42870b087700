"""Listing and searching adapters by what their latest manifests say.

It reads each manifest anew, one after another; an index over them can take its place without a change outside.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.adapter.manifest import MANIFEST_FILE, Manifest, Metric, parse_manifest
from adapterhub.errors import InvalidFolder, StorageError
from adapterhub.files import sha256_of_bytes
from adapterhub.registry import layout
from adapterhub.registry.aliases import AliasMove, alias_names, current_move
from adapterhub.registry.resolve import Version, latest, paths
from adapterhub.registry.stores import Store

_log = logging.getLogger(__name__)
_MIN_FINGERPRINT_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One adapter by its latest version."""

    path: str
    """`namespace/name`."""
    version: Version
    manifest: Manifest
    moves: tuple[AliasMove, ...] = ()
    """The move that holds, of each alias."""

    @property
    def aliases(self) -> dict[str, int]:
        """Alias -> the version it points to."""
        return {move.alias: move.version for move in self.moves}

    @property
    def main_metric(self) -> Metric | None:
        """The first figure on the test split, else the first at all."""
        metrics = self.manifest.metrics
        return next((metric for metric in metrics if metric.split == "test"), next(iter(metrics), None))


Listings = list[Listing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to search for; every part that is given must hold."""

    text: str = ""
    """Words that must all appear in reference, task, labels, data, base or card, in any case."""
    task: str | None = None
    base: str | None = None
    """A base's id, or the first digits of its fingerprint."""
    label: str | None = None


def list_adapters(store: Store) -> Listings:
    """Return every adapter that has a version, sorted by name.

    A damaged one is left out and logged, so that it does not hide the others; `verify` says what it has.
    """
    found = (read_listing(store, path) for path in paths(store))
    return [listing for listing in found if listing]


def search(store: Store, query: Query) -> Listings:
    """Return the adapters that a query fits, sorted by name."""
    return [listing for listing in list_adapters(store)
            if _fits(listing.manifest, query) and _has_words(store, listing, query.text)]


def aliases(store: Store, path: str) -> dict[str, int]:
    """Return each alias of an adapter with the version it points to."""
    return {move.alias: move.version for move in holding_moves(store, path)}


def holding_moves(store: Store, path: str) -> tuple[AliasMove, ...]:
    """Return the move that holds of each alias of an adapter, sorted by alias."""
    return tuple(move for name in alias_names(store, path) if (move := current_move(store, path, name)))


def read_listing(store: Store, path: str) -> Listing | None:
    """Return an adapter by its latest version; None where it has none, or is damaged, which is logged."""
    try:
        version = latest(store, path)
        if version is None:
            return None
        data = store.get(layout.file_key(path, version.version, MANIFEST_FILE)) or b""
        if sha256_of_bytes(data) != version.digest:
            raise InvalidFolder(version.reference, [f"the digest of {MANIFEST_FILE} does not match"])
        return Listing(path=path, version=version, manifest=parse_manifest(data, version.reference),
                       moves=holding_moves(store, path))
    except (InvalidFolder, StorageError) as error:
        _log.warning("%s in %s is left out: %s", path, store.place, error)
        return None


def _fits(manifest: Manifest, query: Query) -> bool:
    return ((query.task is None or manifest.task == query.task)
            and (query.base is None or _is_base(manifest, query.base))
            and (query.label is None or query.label.casefold() in _folded(manifest.labels)))


def _is_base(manifest: Manifest, wanted: str) -> bool:
    is_prefix = len(wanted) >= _MIN_FINGERPRINT_DIGITS and manifest.base.fingerprint.startswith(wanted.lower())
    return is_prefix or manifest.base.id.casefold() == wanted.casefold()


def _has_words(store: Store, listing: Listing, text: str) -> bool:
    manifest = listing.manifest
    facts = " ".join(_folded([listing.path, manifest.task, *manifest.labels, manifest.data.name, manifest.base.id]))
    missing = [word for word in text.casefold().split() if word not in facts]
    if not missing:
        return True
    card = store.get(layout.file_key(listing.path, listing.version.version, CARD_FILE)) or b""
    folded = card.decode("utf-8", errors="replace").casefold()
    return all(word in folded for word in missing)


def _folded(texts: Iterable[str]) -> set[str]:
    return {text.casefold() for text in texts}
