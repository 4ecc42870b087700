"""Questions to the search index: words and filters, sorted and paged; and what a fleet of adapters asks."""

import re
from dataclasses import dataclass

from adapterhub.errors import InvalidConfig, UnknownName
from adapterhub.registry.index import SearchIndex

SORTS = {"name": "path", "newest": "published_at", "size": "size_bytes", "rank": "rank"}
"""Order -> what it goes by; adapters that are alike in it go by name."""
DESCENDING = ("newest",)
_WORD = re.compile(r"\w+")
_IS_BASE = "(base_id = ? COLLATE NOCASE OR (length(?) >= 6 AND substr(base_fingerprint, 1, length(?)) = ?))"
_IN = "id IN (SELECT adapter FROM {table} WHERE {condition})"
_EXISTS = "EXISTS (SELECT 1 FROM {table} INDEXED BY {table}_adapter WHERE {table}.adapter = adapter.id AND {condition})"
_MANY = 2000
"""With more hits than this a page is found sooner by walking the adapters in order than by sorting all hits."""
Value = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What an adapter's latest version must be; every part that is given must hold."""

    text: str = ""
    """Words, or beginnings of words, that must all appear in name, task, labels, data, base or card."""
    task: str | None = None
    base: str | None = None
    """A base's id, or the first digits of its fingerprint."""
    labels: tuple[str, ...] = ()
    method: str | None = None
    max_rank: int | None = None
    max_size_bytes: int | None = None
    min_metrics: tuple[tuple[str, float], ...] = ()
    """Name and least value, on any split."""
    alias: str | None = None
    """Adapters that have this alias."""
    not_base_revision: tuple[str, str] | None = None
    """A base's id and a revision: adapters of that base that were trained on another, or an unknown, revision."""
    not_promoted_since: str | None = None
    """UTC, ISO 8601: no alias of it moved, and it was not published, since then; a registry knows of no other use."""
    sort: str = "name"
    limit: int = 50
    offset: int = 0

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise UnknownName("order", self.sort, SORTS)
        if self.limit < 1 or self.offset < 0:
            raise InvalidConfig(f"limit is {self.limit} and offset {self.offset}, expected at least 1 and 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of what was found."""

    paths: tuple[str, ...]
    total: int
    """How many there are on all pages."""
    keys: tuple[Value, ...] = ()
    """What each was sorted by."""


def find(index: SearchIndex, filters: Filters) -> Page:
    """Return a page of the adapters that the filters fit; the index is as of its last refresh."""
    where, values = _conditions(filters)
    condition, key = " AND ".join(where), SORTS[filters.sort]
    direction = "DESC" if filters.sort in DESCENDING else "ASC"
    # the texts are this file's own; every value is bound
    total = index.connection.execute(f"SELECT count(*) FROM adapter WHERE {condition}", values).fetchone()[0]  # noqa: S608
    where, values = _conditions(filters, side=_EXISTS if total > _MANY else _IN)
    condition = " AND ".join(where)
    rows = index.connection.execute(
        f"SELECT path, {key} FROM adapter WHERE {condition} ORDER BY {key} {direction}, path "  # noqa: S608
        "LIMIT ? OFFSET ?", [*values, filters.limit, filters.offset]).fetchall()
    return Page(paths=tuple(row[0] for row in rows), total=total, keys=tuple(row[1] for row in rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a server has for adapters."""

    n_slots: int
    max_rank: int
    size_bytes: int


def fitting(index: SearchIndex, room: Room, filters: Filters) -> Page:
    """Return the adapters, smallest first, that together fit the slots, the rank and the bytes."""
    where, values = _conditions(filters)
    rows = index.connection.execute(
        f"SELECT path, size_bytes FROM adapter WHERE {' AND '.join(where)} AND rank <= ? "  # noqa: S608  # as in find
        "ORDER BY size_bytes, path LIMIT ?", [*values, room.max_rank, room.n_slots]).fetchall()
    chosen, used = [], 0
    for path, size_bytes in rows:
        used += size_bytes
        if used > room.size_bytes:
            break
        chosen.append(path)
    return Page(paths=tuple(chosen), total=len(chosen))


def _conditions(filters: Filters, *, side: str = _IN) -> tuple[list[str], list[Value]]:
    """Return the conditions of the given filters, and the values that they bind, in order.

    `side` is how labels, metrics and aliases are asked for; both ways find the same.
    """
    has_label, has_alias = (side.format(table=table, condition="name = ?") for table in ("label", "alias"))
    has_metric = side.format(table="metric", condition="name = ? AND value >= ?")
    words = " ".join(f'"{word}"*' for word in _WORD.findall(filters.text))
    base, since, revision = filters.base, filters.not_promoted_since, filters.not_base_revision
    asked: list[tuple[str, tuple[Value | None, ...]]] = [
        ("id IN (SELECT rowid FROM words WHERE words MATCH ?)", (words or None,)),
        (_IS_BASE, (base, *[base.lower() if base else None] * 3)),
        *((has_label, (label.casefold(),)) for label in filters.labels),
        *((has_metric, metric) for metric in filters.min_metrics),
        (has_alias, (filters.alias,)),
        ("base_id = ? AND base_revision IS NOT ?", revision or (None,)),
        ("coalesce(max(promoted_at, published_at), published_at) < ?", (since,)),
        ("task = ?", (filters.task,)),
        ("method = ?", (filters.method,)),
        ("rank <= ?", (filters.max_rank,)),
        ("size_bytes <= ?", (filters.max_size_bytes,)),
    ]
    given = [(condition, values) for condition, values in asked if None not in values]
    return (["version IS NOT NULL", *(condition for condition, _ in given)],
            [value for _, values in given for value in values if value is not None])
