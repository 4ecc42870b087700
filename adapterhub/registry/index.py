"""The search index: SQLite with full text over every adapter's latest version. Derived, incremental, disposable.

It is refreshed from the registry's own files; who deletes it loses nothing but the seconds of the next refresh.
It knows what is stored, not how a question is put (find.py).
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

from adapterhub.adapter.folder import CARD_FILE
from adapterhub.errors import StorageError
from adapterhub.files import sha256_of_bytes, storage_errors
from adapterhub.registry import layout
from adapterhub.registry.entry import HasStamps
from adapterhub.registry.search import Listing, read_listing
from adapterhub.registry.stores import Store

SCHEMA = 4
CARD_CHARACTERS = 4000
"""Of each card are indexed; what an adapter is for stands at its beginning."""
_BATCH = 1000
"""Rows in memory at a time, however many adapters there are."""
_FRESH_NS = 2 * 10**9
"""A change so short before the look may have another behind it within the same tick of the file system's clock."""
_TABLES = """
CREATE TABLE IF NOT EXISTS adapter (
  id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, stamp TEXT NOT NULL, version INTEGER, digest TEXT, task TEXT,
  method TEXT, rank INTEGER, size_bytes INTEGER, base_id TEXT, base_revision TEXT, base_fingerprint TEXT,
  published_at TEXT, promoted_at TEXT);
CREATE INDEX IF NOT EXISTS adapter_task ON adapter (task, path);
CREATE INDEX IF NOT EXISTS adapter_base ON adapter (base_fingerprint, path);
CREATE INDEX IF NOT EXISTS adapter_newest ON adapter (published_at DESC, path);
CREATE INDEX IF NOT EXISTS adapter_size ON adapter (size_bytes, path);
CREATE INDEX IF NOT EXISTS adapter_rank ON adapter (rank, path);
CREATE TABLE IF NOT EXISTS label (adapter INTEGER NOT NULL, name TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS label_name ON label (name, adapter);
CREATE INDEX IF NOT EXISTS label_adapter ON label (adapter);
CREATE TABLE IF NOT EXISTS metric (adapter INTEGER NOT NULL, name TEXT NOT NULL, split TEXT NOT NULL, value REAL);
CREATE INDEX IF NOT EXISTS metric_name ON metric (name, value);
CREATE INDEX IF NOT EXISTS metric_adapter ON metric (adapter);
CREATE TABLE IF NOT EXISTS alias (adapter INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS alias_name ON alias (name, adapter);
CREATE INDEX IF NOT EXISTS alias_adapter ON alias (adapter);
CREATE TABLE IF NOT EXISTS parent (adapter INTEGER NOT NULL, digest TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS parent_digest ON parent (digest, adapter);
CREATE INDEX IF NOT EXISTS parent_adapter ON parent (adapter);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text, columnsize=0, tokenize="unicode61 remove_diacritics 2");
"""
_SIDES = ("label", "metric", "alias", "parent")


class SearchIndex:
    """One registry's index in one file. One process writes at a time; others wait for it."""

    def __init__(self, store: Store, file: Path) -> None:
        """Open or make the index; one of another schema, or a damaged one, is made anew. Raises StorageError."""
        self._store = store
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.connection = _open(file)
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            try:
                self.connection = _open(file)
            except sqlite3.DatabaseError as error:
                raise StorageError(f"The search index {file} cannot be made: {error}.",
                                   hint="Name another cache with ADAPTERHUB_CACHE.") from error

    def refresh(self) -> int:
        """Bring the index up to date and return how many adapters were read anew or left.

        Raises StorageError where another process writes it for longer than a minute, or the disk refuses.
        """
        try:
            return self._refresh()
        except sqlite3.Error as error:
            raise StorageError(f"The search index cannot be written: {error}.",
                               hint="Try again, or name another cache with ADAPTERHUB_CACHE.") from error

    def _refresh(self) -> int:
        with self.connection as connection:
            connection.execute("BEGIN IMMEDIATE")  # others wait here; a later lock would find what it read outdated
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS seen (path TEXT PRIMARY KEY, stamp TEXT) WITHOUT ROWID")
            connection.execute("DELETE FROM seen")
            for batch in _batched(self._stamps(), _BATCH):
                connection.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", batch)
            gone = connection.execute("SELECT id FROM adapter WHERE path NOT IN (SELECT path FROM seen)").fetchall()
            changed = connection.execute(
                "SELECT seen.path, seen.stamp, adapter.id FROM seen LEFT JOIN adapter ON adapter.path = seen.path "
                "WHERE adapter.stamp IS NULL OR adapter.stamp <> seen.stamp OR seen.stamp = ''").fetchall()
            self._forget(row[0] for row in gone)
            self._forget(row[2] for row in changed if row[2] is not None)
            for path, stamp, _ in changed:
                self._add(path, stamp)
        return len(gone) + len(changed)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _stamps(self) -> Iterator[tuple[str, str]]:
        """Yield each adapter's name with what changes whenever something of it does; empty where it just changed."""
        store = self._store
        if store.root is not None:
            root = str(store.root)
            too_fresh = int(datetime.now(UTC).timestamp() * 10**9) - _FRESH_NS
            namespaces = (name for name in store.folders("") if layout.is_path(f"{name}/x"))
            found = (f"{namespace}/{name}" for namespace in namespaces for name in store.folders(namespace))
            for batch in _batched(found, _BATCH):
                known = dict(self.connection.execute(
                    "SELECT path, stamp FROM adapter WHERE path IN (SELECT value FROM json_each(?))",
                    (json.dumps(batch),)))
                for path in batch:
                    if path in known or layout.is_path(path):  # what is known was a name when it was written
                        yield path, _local_stamp(f"{root}/{path}", known.get(path, ""), too_fresh)
        elif isinstance(store, HasStamps):
            yield from store.stamps()
        else:
            yield from _listed_stamps(store)

    def _forget(self, ids: Iterable[int]) -> None:
        for batch in _batched(ids, _BATCH):
            rows = [(one,) for one in batch]
            for table in _SIDES:
                self.connection.executemany(f"DELETE FROM {table} WHERE adapter = ?", rows)  # noqa: S608  # our names
            self.connection.executemany("DELETE FROM words WHERE rowid = ?", rows)
            self.connection.executemany("DELETE FROM adapter WHERE id = ?", rows)

    def _add(self, path: str, stamp: str) -> None:
        """Write one adapter; one that has no version to show, or is damaged, is kept by its stamp alone."""
        listing = read_listing(self._store, path)
        facts = _facts(listing) if listing else (None,) * 11
        row = self.connection.execute("INSERT INTO adapter VALUES (NULL" + ", ?" * 13 + ")",
                                      (path, stamp, *facts)).lastrowid
        if listing is None or row is None:
            return
        manifest = listing.manifest
        self.connection.executemany("INSERT INTO label VALUES (?, ?)",
                                    [(row, label.casefold()) for label in manifest.labels])
        self.connection.executemany("INSERT INTO metric VALUES (?, ?, ?, ?)",
                                    [(row, m.name, m.split, m.value) for m in manifest.metrics])
        self.connection.executemany("INSERT INTO alias VALUES (?, ?, ?)",
                                    [(row, name, version) for name, version in listing.aliases.items()])
        self.connection.executemany("INSERT INTO parent VALUES (?, ?)",
                                    [(row, parent.rpartition("sha256:")[2]) for parent in manifest.parents])
        card = self._store.get(layout.file_key(path, listing.version.version, CARD_FILE)) or b""
        text = " ".join([path.replace("/", " "), manifest.task, *manifest.labels, manifest.data.name, manifest.base.id,
                         card.decode("utf-8", errors="replace")[:CARD_CHARACTERS]])
        self.connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, text))


def index_file(cache: Path, store: Store) -> Path:
    """Return where a registry's index lies in a cache: named by the place, which it can be told from."""
    place = str(store.root) if store.root else store.place
    return cache / "index" / f"{sha256_of_bytes(place.encode())[:24]}.sqlite"


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=60)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA):
        connection.close()
        raise sqlite3.DatabaseError("it is of another schema")
    connection.execute("PRAGMA synchronous = OFF")  # derived: a power loss may cost it
    connection.execute("PRAGMA cache_size = -8192")  # KiB; with sqlite's 2 MiB the index's own pages are read again
    if version == 0:  # else nothing is written, and nobody who builds it is waited for
        connection.executescript(f"PRAGMA journal_mode = WAL; {_TABLES} PRAGMA user_version = {SCHEMA};")
    return connection


def _facts(listing: Listing) -> tuple[str | int | None, ...]:
    version, manifest = listing.version, listing.manifest
    moves = [move.at for move in listing.moves]
    return (version.version, version.digest, manifest.task, manifest.method.name, manifest.method.rank,
            version.size_bytes, manifest.base.id, manifest.base.revision, manifest.base.fingerprint,
            version.published_at, max(moves, default=None))


def _listed_stamps(store: Store) -> Iterator[tuple[str, str]]:
    entries = (entry for entry in store.entries("") if entry.key.count("/") >= 3)
    for path, group in groupby(entries, key=lambda entry: "/".join(entry.key.split("/", 2)[:2])):
        if layout.is_path(path):
            kept = [(entry.key, entry.size_bytes) for entry in group if "/gates/" not in entry.key]
            yield path, sha256_of_bytes(repr(kept).encode())  # objects are never changed: their names say it all


def _local_stamp(place: str, known: str, too_fresh: int) -> str:
    """Tell when anything was created in an adapter: a version, its yank, an alias, its move; empty where just now.

    A folder's time changes when an entry is added to or removed from it. So where the time of `versions/` or
    `aliases/` is the `known` one, the known names in it still hold, and asking for one time replaces a listing.
    What changed less than a moment ago is never known: two changes within one tick would show one time.
    The form is time/name/time/name/time for the versions, then the same after `//`: no name holds a slash.
    """
    kinds, newest = [], 0
    for kind, was in zip(("versions", "aliases"), known.split("//") if known else ("", ""), strict=True):
        folder = f"{place}/{kind}"
        time = _time_ns(folder)  # before the listing: what is created between them is seen the next time
        parts = was.split("/")
        names = parts[1::2] if parts[0] == str(time) else _names(folder)
        newest = max(newest, time)
        text = str(time)
        for name in names:
            time = _time_ns(f"{folder}/{name}")
            newest = max(newest, time)
            text += f"/{name}/{time}"
        kinds.append(text)
    return "" if newest > too_fresh else "//".join(kinds)


def _time_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # called several times per adapter
    except OSError:
        return 0


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.isascii())  # noqa: PTH208  # as above
    except OSError:
        return []


Item = TypeVar("Item")


def _batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
