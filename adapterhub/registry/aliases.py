"""Aliases: names that move between versions, with their whole history and a way back.

Each move is one create-once object; the highest number holds. It does not know whether a version exists.
"""

from dataclasses import asdict, dataclass, field, fields

from adapterhub.adapter.reference import Reference
from adapterhub.errors import AdapterNotFound, InvalidReference, PromotionRefused, near_misses
from adapterhub.registry import layout, series
from adapterhub.registry.records import MoveRecord
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
    by: str = ""
    """Who moved it; empty where nobody said."""
    is_forced: bool = False
    """Whether it went past a gate."""
    figures: dict[str, float] = field(default_factory=dict)
    """What the gate measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an alias shall point, and what was found before it did."""

    version: int
    digest: str
    is_forced: bool = False
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """When a change was made, and by whom."""

    at: str
    """UTC, ISO 8601."""
    by: str = ""


def alias_names(store: Store, path: str) -> list[str]:
    """Return the aliases of `namespace/name`, sorted."""
    return [name for name in store.folders(layout.aliases_key(path)) if _is_alias(path, name)]


def current_move(store: Store, path: str, alias: str) -> AliasMove | None:
    """Return the move that holds, None for an alias that never moved."""
    taken = series.numbers(store, layout.alias_key(path, alias))
    return read_move(store, path, alias, taken[-1]) if taken else None


def history(store: Store, path: str, alias: str) -> list[AliasMove]:
    """Return every move of an alias, oldest first. Raises AdapterNotFound where it never moved."""
    numbers = series.numbers(store, layout.alias_key(path, alias))
    moves = [read_move(store, path, alias, number) for number in numbers]
    if not moves:
        near = [f"{path}@{name}" for name in near_misses(alias, alias_names(store, path))]
        raise AdapterNotFound(f"{path}@{alias}", where=store.place, near=near, why="that alias never moved")
    return moves


def move_at(moves: list[AliasMove], time: str) -> AliasMove:
    """Return the move that held at a time, in UTC as moves write it. Raises AdapterNotFound before the first."""
    held = [move for move in moves if move.at <= time]
    if not held:
        first = moves[0]
        raise AdapterNotFound(f"{first.path}@{first.alias}", where=f"its history at {time}",
                              why=f"it first moved at {first.at}")
    return held[-1]


def promote(store: Store, path: str, alias: str, target: Target, mark: Mark, *,
            expected: int | None = None) -> AliasMove:
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
        move = AliasMove(path=path, alias=alias, number=found + 1, version=target.version, digest=target.digest,
                         at=mark.at, by=mark.by, action=PROMOTE, previous=holding.version if holding else None,
                         restores=None, is_forced=target.is_forced, figures=target.figures)
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


def rollback(store: Store, last: AliasMove, goal: AliasMove, mark: Mark) -> AliasMove:
    """Make the move `goal` hold again, right after the move `last`.

    Raises PromotionRefused where somebody moved the alias after `last`: the step back was meant from there.
    """
    move = AliasMove(path=last.path, alias=last.alias, number=last.number + 1, version=goal.version,
                     digest=goal.digest, at=mark.at, by=mark.by, action=ROLLBACK, previous=last.version,
                     restores=goal.number)
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
    folder, number = layout.alias_key(facts.pop("path"), facts.pop("alias")), facts.pop("number")
    return series.append(store, folder, number, MoveRecord(**facts))


def read_move(store: Store, path: str, alias: str, number: int) -> AliasMove:
    """Return one move that is known to be there. Raises InvalidFolder where it is damaged."""
    record = series.read(store, MoveRecord, layout.alias_key(path, alias), number)
    facts = {known.name: getattr(record, known.name) for known in fields(record)}  # asdict copies each value deeply
    return AliasMove(path=path, alias=alias, number=number, **facts)


def _is_alias(path: str, name: str) -> bool:
    try:
        return Reference.parse(f"{path}@{name}").alias == name
    except InvalidReference:
        return False


def _overtaken(path: str, alias: str, expected: int, found: int) -> PromotionRefused:
    return PromotionRefused(f"{path}@{alias} moved meanwhile: expected move {expected}, found {found}.",
                            hint=f"See `adapterhub history {path}@{alias}`, then try again.")
