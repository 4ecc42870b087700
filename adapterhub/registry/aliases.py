"""Aliases: names that move between versions, with their whole history and a way back.

Each move is one create-once object; the highest number holds. It does not know whether a version exists.
"""

from dataclasses import asdict, dataclass

from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterNotFound, InvalidReference, PromotionRefused, near_misses
from adapterhub.registry import layout
from adapterhub.registry.records import MoveRecord, parse_record, to_bytes
from adapterhub.registry.stores import Store

PROMOTE = "promote"
ROLLBACK = "rollback"
_MAX_TRIES = 100
"""More promotions of one alias at the same instant than this are somebody's loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One move of an alias."""

    path: str
    alias: str
    number: int
    """Counted from 1; the highest is where the alias points."""
    version: int
    digest: str
    at: str
    """UTC, ISO 8601."""
    action: str
    """`promote` or `rollback`."""
    previous: int | None
    """The version it pointed to before, None at first."""
    restores: int | None
    """For a rollback: the number of the move that holds again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an alias shall point."""

    version: int
    digest: str


def alias_names(store: Store, path: str) -> list[str]:
    """Return the aliases of `namespace/name`, sorted."""
    return [name for name in store.folders(layout.aliases_key(path)) if _is_alias(path, name)]


def current_move(store: Store, path: str, alias: str) -> AliasMove | None:
    """Return the move that holds, None for an alias that never moved."""
    taken = _move_numbers(store, path, alias)
    return _read_move(store, path, alias, taken[-1]) if taken else None


def history(store: Store, path: str, alias: str) -> list[AliasMove]:
    """Return every move of an alias, oldest first. Raises AdapterNotFound where it never moved."""
    moves = [_read_move(store, path, alias, number) for number in _move_numbers(store, path, alias)]
    if not moves:
        near = [f"{path}@{name}" for name in near_misses(alias, alias_names(store, path))]
        raise AdapterNotFound(f"{path}@{alias}", where=store.place, near=near, why="that alias never moved")
    return moves


def promote(store: Store, path: str, alias: str, target: Target, *, at: str, expected: int | None = None) -> AliasMove:
    """Point an alias to a version; where it points there already, its holding move is returned.

    With `expected`, the number of the move that the caller saw (0 for none), anybody else's move in between
    refuses this one. Without it, promotions at the same instant follow each other in some order.
    Raises PromotionRefused.
    """
    for _ in range(_MAX_TRIES):
        holding = current_move(store, path, alias)
        found = holding.number if holding else 0
        if expected is not None and found != expected:
            raise _overtaken(path, alias, expected, found)
        if holding and (holding.version, holding.digest) == (target.version, target.digest):
            return holding
        move = AliasMove(path=path, alias=alias, number=found + 1, version=target.version, digest=target.digest, at=at,
                         action=PROMOTE, previous=holding.version if holding else None, restores=None)
        if _create(store, move):
            return move
    raise PromotionRefused(f"{path}@{alias} was moved by others {_MAX_TRIES} times in a row.", hint="Try again.")


def rollback_target(moves: list[AliasMove], steps: int) -> AliasMove:
    """Return the move that `steps` rollbacks go back to.

    Rollbacks work like undo: promotions are piled up, a rollback takes off the topmost. So a second rollback goes
    further back instead of returning to what the first one left, and a promotion after it starts from there.
    Raises PromotionRefused where there is nothing so far back.
    """
    last, pile = moves[-1], _pile(moves)
    if steps < 1 or len(pile) <= steps:
        raise PromotionRefused(f"{last.path}@{last.alias} cannot go back {steps} step{'s' * (steps != 1)}: "
                               f"it has {len(pile) - 1} to go back.",
                               hint=f"See `adapterhub history {last.path}@{last.alias}`.")
    return pile[-1 - steps]


def rollback(store: Store, last: AliasMove, goal: AliasMove, *, at: str) -> AliasMove:
    """Make the move `goal` hold again, right after the move `last`.

    Raises PromotionRefused where somebody moved the alias after `last`: the step back was meant from there.
    """
    move = AliasMove(path=last.path, alias=last.alias, number=last.number + 1, version=goal.version,
                     digest=goal.digest, at=at, action=ROLLBACK, previous=last.version, restores=goal.number)
    if not _create(store, move):
        raise _overtaken(last.path, last.alias, last.number, last.number + 1)
    return move


def _pile(moves: list[AliasMove]) -> list[AliasMove]:
    """Replay the moves: what is left of the promotions, the one that holds on top."""
    pile: list[AliasMove] = []
    for move in moves:
        if move.restores is None:
            pile.append(move)
        while pile and move.restores is not None and pile[-1].number > move.restores:
            pile.pop()
    return pile


def _create(store: Store, move: AliasMove) -> bool:
    facts = asdict(move)
    key = layout.move_key(facts.pop("path"), facts.pop("alias"), facts.pop("number"))
    return store.create(key, to_bytes(MoveRecord(**facts)))


def _read_move(store: Store, path: str, alias: str, number: int) -> AliasMove:
    key = layout.move_key(path, alias, number)
    data = store.get(key)
    assert data is not None, f"{key} was listed a moment ago and nothing is ever removed"
    return AliasMove(path=path, alias=alias, number=number, **asdict(parse_record(MoveRecord, data, key)))


def _move_numbers(store: Store, path: str, alias: str) -> list[int]:
    files = (key.rpartition("/")[2] for key in store.keys(layout.alias_key(path, alias)))
    found = (layout.number_of(file.removesuffix(".json")) for file in files if file.endswith(".json"))
    return sorted(number for number in found if number)


def _is_alias(path: str, name: str) -> bool:
    try:
        return Reference.parse(f"{path}@{name}").alias == name
    except InvalidReference:
        return False


def _overtaken(path: str, alias: str, expected: int, found: int) -> PromotionRefused:
    return PromotionRefused(f"{path}@{alias} moved meanwhile: expected move {expected}, found {found}.",
                            hint=f"See `adapterhub history {path}@{alias}`, then try again.")
