"""One promotion from its wish to its move: not yanked, through the gate, and only if nobody moved it meanwhile."""

from dataclasses import dataclass

from adapterhub.errors import PromotionRefused
from adapterhub.registry import aliases, gates
from adapterhub.registry.aliases import AliasMove, Mark, Target
from adapterhub.registry.gates import Evaluate
from adapterhub.registry.pull import read
from adapterhub.registry.records import GateRecord
from adapterhub.registry.resolve import Version, read_version
from adapterhub.registry.stores import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """On what terms an alias shall move."""

    expected: int | None = None
    """The number of the move that the caller saw (0 for none); anybody else's in between refuses this one."""
    evaluate: Evaluate | None = None
    """What a gate measures with."""
    is_forced: bool = False
    """Past the gate, and recorded as forced."""


def promote(store: Store, version: Version, alias: str, passage: Passage, mark: Mark) -> AliasMove:
    """Point an alias to a version. Raises PromotionRefused: yanked, refused by the gate, overtaken."""
    if version.is_yanked:
        raise PromotionRefused(f"{version.reference} is yanked, {alias!r} cannot point to it.",
                               hint=f"Promote another version of {version.path}.")
    gate = gates.find_gate(store, version.path, alias)
    target = Target(version=version.version, digest=version.digest, is_forced=passage.is_forced)
    if gate is None or passage.is_forced:
        return aliases.promote(store, version.path, alias, target, mark, expected=passage.expected)
    holding = aliases.current_move(store, version.path, alias)
    figures = _measured(store, version, alias, gate, holding, passage)
    # the incumbent that was measured against is the one that is replaced, or nobody is
    expected = passage.expected if passage.expected is not None else holding.number if holding else 0
    target = Target(version=version.version, digest=version.digest, figures=figures)
    return aliases.promote(store, version.path, alias, target, mark, expected=expected)


def _measured(store: Store, version: Version, alias: str, gate: GateRecord, holding: AliasMove | None,
              passage: Passage) -> dict[str, float]:
    if passage.evaluate is None:
        raise PromotionRefused(f"{version.path}@{alias} has a gate on {gate.metric}, and nothing to measure it with.",
                               hint="Promote with `adapterhub promote`, which measures; or force it.")
    incumbent = read_version(store, version.path, holding.version) if holding else None
    judgement = gates.judge(store, gate, holding, read(store, version), read(store, incumbent) if incumbent else None,
                            passage.evaluate, path=version.path, alias=alias)
    if judgement.refusals:
        raise PromotionRefused(f"{version.reference} does not pass the gate of {alias!r}: "
                               f"{'; '.join(judgement.refusals)}.",
                               hint="Train a better one; or force the move, which its history will say.")
    return judgement.figures
