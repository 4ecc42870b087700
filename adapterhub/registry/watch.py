"""Watching: the moves of aliases as they happen, by looking again. It needs nothing of the place but listings."""

from collections.abc import Callable, Iterator, Sequence

from adapterhub.registry import layout, series
from adapterhub.registry.aliases import AliasMove, alias_names, read_move
from adapterhub.registry.resolve import paths
from adapterhub.registry.stores import Store

Position = tuple[str, str]
"""`namespace/name` and alias."""


def positions(store: Store, only: Sequence[str] = ()) -> dict[Position, int]:
    """Return the number of the holding move of each alias, of the named adapters or of all."""
    return {(path, alias): max(series.numbers(store, layout.alias_key(path, alias)), default=0)
            for path in only or paths(store) for alias in alias_names(store, path)}


def moves_since(store: Store, seen: dict[Position, int], only: Sequence[str] = ()) -> list[AliasMove]:
    """Return every move after `seen`, and bring `seen` up to date in place; none is left out or told twice."""
    moves = []
    for (path, alias), number in positions(store, only).items():
        first = seen.get((path, alias), 0) + 1
        moves += [read_move(store, path, alias, later) for later in range(first, number + 1)]
        seen[path, alias] = number
    return sorted(moves, key=lambda move: (move.at, move.path, move.alias, move.number))


def watch(store: Store, wait: Callable[[], object], only: Sequence[str] = ()) -> Iterator[AliasMove]:
    """Yield each move made from now on; `wait` is called between two looks."""
    seen = positions(store, only)
    while True:
        wait()
        yield from moves_since(store, seen, only)
