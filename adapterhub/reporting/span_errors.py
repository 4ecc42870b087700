"""What went wrong with entities: wrong type, wrong bounds, missed, invented; each type apart."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.reporting.reading import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanErrors:
    """One entity type's fate. All but `invented` add up to its right entities."""

    kind: str
    right: int = 0
    wrong_type: int = 0
    """The same words, called another type."""
    wrong_bounds: int = 0
    """The right type, over some of its words and perhaps others."""
    wrong_both: int = 0
    """Another type, over some of its words."""
    missed: int = 0
    """No answer touches it."""
    invented: int = 0
    """Answers of this type where no entity is."""


def span_errors_of(rows: Sequence[tuple[list[Span], list[Span]]]) -> list[SpanErrors]:
    """Count each right entity once, by the nearest answer to it, and answers that touch none; `all` stands last.

    The kinds are those of MUC-5 and SemEval-2013 task 9.1 (type, exact, partial, missing, spurious).
    """
    counts: dict[str, Counter[str]] = {}
    for right, found in rows:
        for span in right:
            counts.setdefault(span.kind, Counter())[_fate(span, found)] += 1
        for span in found:
            if not any(_touch(span, other) for other in right):
                counts.setdefault(span.kind, Counter())["invented"] += 1
    if not counts:
        return []
    total = sum(counts.values(), Counter())
    return [SpanErrors(kind=kind, **own) for kind, own in [*sorted(counts.items()), ("all", total)]]


def _fate(span: Span, found: Sequence[Span]) -> str:
    touching = [other for other in found if _touch(span, other)]
    if span in touching:
        return "right"
    if any((other.first, other.last) == (span.first, span.last) for other in touching):
        return "wrong_type"
    if any(other.kind == span.kind for other in touching):
        return "wrong_bounds"
    return "wrong_both" if touching else "missed"


def _touch(span: Span, other: Span) -> bool:
    return span.first <= other.last and other.first <= span.last
