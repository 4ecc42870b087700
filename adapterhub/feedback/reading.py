"""What is read again: feedback with its answers, newest first or oldest first, and figures by version."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, true

from adapterhub.feedback.records import LABEL_FIELDS, Feedback, Judged
from adapterhub.feedback.tables import ANSWERS, CORRECTION, FEEDBACK, RESULT, ROW, TEXTS
from adapterhub.feedback.writing import answer_of, label_from

_AT_ONCE = 1000
_COUNTED = ("text-classification", "multi-label-classification")
"""Tasks whose true label is the answer's or is not; of numbers nobody says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which feedback; what is None chooses all."""

    adapter: str | None = None
    """`namespace/name`."""
    holder: str | None = None
    """Who asked, or who gave it."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Of the feedback, the end left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFigures:
    """What people said of one version's answers."""

    version: str | None
    """`namespace/name@3`; None: the bare base."""
    n_answers: int
    n_judged: int
    """Answers with feedback."""
    n_ratings: int
    mean_rating: float | None
    n_labels: int
    """True labels that were given for answers that are labels."""
    n_right: int
    """Of them, those that the answer had."""

    @property
    def accuracy(self) -> float | None:
        """Share of true labels that the answers had; of what people chose to judge, not of all rows."""
        return self.n_right / self.n_labels if self.n_labels else None


def feedback_of(connection: Connection, chosen: Chosen, *, n_most: int | None = None,
                is_newest_first: bool = False) -> Iterator[Judged]:
    """Yield feedback with its answer and the texts that are kept, in the order of time."""
    row, result, correction = (TEXTS.alias(kind) for kind in (ROW, RESULT, CORRECTION))
    joined = FEEDBACK.join(ANSWERS, ANSWERS.c.id == FEEDBACK.c.answer_id)
    for texts, kind in ((row, ROW), (result, RESULT), (correction, CORRECTION)):
        own = texts.c.holder == FEEDBACK.c.holder if kind == CORRECTION else true()
        joined = joined.outerjoin(texts, and_(texts.c.answer_id == ANSWERS.c.id, texts.c.kind == kind, own))
    time = FEEDBACK.c.at_ms.desc() if is_newest_first else FEEDBACK.c.at_ms
    query = select(ANSWERS, FEEDBACK.c.holder.label("said_by"), FEEDBACK.c.at_ms.label("said_at_ms"),
                   FEEDBACK.c.rating, FEEDBACK.c.label.label("true_label"), row.c.value.label("row_value"),
                   result.c.value.label("result_value"), correction.c.value.label("correction_value"))
    query = query.select_from(joined).where(*_conditions(chosen)).order_by(time, FEEDBACK.c.answer_id,
                                                                          FEEDBACK.c.holder).limit(n_most)
    for line in connection.execution_options(yield_per=_AT_ONCE).execute(query):
        said = Feedback(answer_id=line.id, holder=line.said_by, at_ms=line.said_at_ms, rating=line.rating,
                        label=label_from(line.true_label), correction=_value(line.correction_value))
        yield Judged(answer=answer_of(line), feedback=said, row=_value(line.row_value),
                     result=_value(line.result_value))


def figures_of(connection: Connection, chosen: Chosen) -> list[VersionFigures]:
    """Return what people said of each version, by its name; versions without any feedback too."""
    is_right = and_(FEEDBACK.c.label == ANSWERS.c.label, ANSWERS.c.task.in_(_COUNTED))
    is_labelled = and_(FEEDBACK.c.label.is_not(None), ANSWERS.c.task.in_(_COUNTED))
    joined = ANSWERS.outerjoin(FEEDBACK, ANSWERS.c.id == FEEDBACK.c.answer_id)
    query = select(ANSWERS.c.version, func.count(ANSWERS.c.id.distinct()), func.count(FEEDBACK.c.answer_id.distinct()),
                   func.count(FEEDBACK.c.rating), func.avg(FEEDBACK.c.rating),
                   func.sum(case((is_labelled, 1), else_=0)), func.sum(case((is_right, 1), else_=0)))
    query = query.select_from(joined).where(*_answer_conditions(chosen)).group_by(ANSWERS.c.version)
    found = [VersionFigures(version=version, n_answers=n_answers, n_judged=n_judged, n_ratings=n_ratings,
                            mean_rating=None if mean is None else float(mean), n_labels=int(n_labels or 0),
                            n_right=int(n_right or 0))
             for version, n_answers, n_judged, n_ratings, mean, n_labels, n_right in connection.execute(query)]
    return sorted(found, key=lambda figures: _by_number(figures.version))


def _conditions(chosen: Chosen) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if chosen.adapter is not None:
        found.append(ANSWERS.c.adapter == chosen.adapter)
    if chosen.holder is not None:
        found.append(or_(ANSWERS.c.holder == chosen.holder, FEEDBACK.c.holder == chosen.holder))
    if chosen.since_ms is not None:
        found.append(FEEDBACK.c.at_ms >= chosen.since_ms)
    if chosen.until_ms is not None:
        found.append(FEEDBACK.c.at_ms < chosen.until_ms)
    return found


def _answer_conditions(chosen: Chosen) -> list[ColumnElement[bool]]:
    """Return the conditions where answers are counted: the period is that of the answers."""
    found: list[ColumnElement[bool]] = []
    for column, value in ((ANSWERS.c.adapter, chosen.adapter), (ANSWERS.c.holder, chosen.holder)):
        if value is not None:
            found.append(column == value)
    if chosen.since_ms is not None:
        found.append(ANSWERS.c.at_ms >= chosen.since_ms)
    if chosen.until_ms is not None:
        found.append(ANSWERS.c.at_ms < chosen.until_ms)
    return found


def _by_number(version: str | None) -> tuple[str, int]:
    path, _, number = (version or "").rpartition("@")
    return path, int(number) if number.isdigit() else 0


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


assert set(_COUNTED) <= LABEL_FIELDS.keys(), "only labels can be right"
