"""Rows made ready: labels renamed, doubles found and left out if asked, three parts, and a report on all of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapterhub.data.columns import Columns
from adapterhub.data.duplicates import REMOVED, Parts, find_conflicts, find_repeats, find_shared
from adapterhub.data.labels import count_labels, labels_in, rename_labels, require_renamed
from adapterhub.data.read import Rows
from adapterhub.data.report import Conflict, DataReport, PartReport
from adapterhub.data.split import (
    PARTS,
    SplitPlan,
    Splits,
    draw_parts,
    plan_for_missing,
    read_parts,
    require_classes,
)
from adapterhub.data.survey import Survey

_SHOWN_CONFLICTS, _SHOWN_CHARACTERS, _SHOWN_ANSWERS = 5, 80, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """What is done to rows before they are divided."""

    label_names: Mapping[str, str] = field(default_factory=dict)
    """Old label -> new one; of tags the entity types, `O` for none."""
    is_cleaned: bool = False
    """Whether rows are left out that repeat another of their part, or whose text stands in a part that measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curated:
    """Rows in three parts, and what was found in them."""

    splits: Splits
    report: DataReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Which part each surveyed row goes to, and the doubles among them."""

    parts: Parts
    n_repeated: int
    n_shared: dict[str, int]
    n_removed: int


def read_curated(source: str, *, columns: Columns, given: Mapping[str, str], plan: SplitPlan,
                 curation: Curation) -> Curated:
    """Read a source as `read_splits`, curated.

    Raises as `read_splits`; UnknownName where a label is renamed that no row has.
    """
    name, read = read_parts(source, columns=columns, given=given)
    rows = [rename_labels(row, curation.label_names) if curation.label_names else row
            for part in PARTS for row in read.get(part, ())]
    require_renamed(curation.label_names, (label for part in read.values() for row in part for label in labels_in(row)))
    survey = Survey(label_field=plan.stratify_by)
    places = [number for number, part in enumerate(PARTS) for _ in read.get(part, ())]
    for row, place in zip(rows, places, strict=True):
        survey.add(row, place)
    division = divide(survey, plan, is_cleaned=curation.is_cleaned, present=read)
    parts: list[Rows] = [[rows[i] for i in np.flatnonzero(division.parts == number)] for number in range(len(PARTS))]
    splits = Splits(name=name, train=parts[0], validation=parts[1], test=parts[2])
    reports = [PartReport(name=part, n_rows=len(own), labels=dict(count_labels(own)))
               for part, own in zip(PARTS, parts, strict=True)]
    return Curated(splits=splits, report=report_on(name, survey, division, reports, lambda numbers: [
        rows[i] for i in numbers]))


def divide(survey: Survey, plan: SplitPlan, *, is_cleaned: bool, present: Mapping[str, object]) -> Division:
    """Decide where each row goes: repeated ones out, missing parts drawn, shared ones out of what is learned.

    `present` are the parts that the source has. Raises DataError as `split_rows`.
    """
    parts, texts = survey.parts.copy(), survey.texts
    repeats = find_repeats(parts, survey.wholes)
    if is_cleaned:
        parts[repeats] = REMOVED
    _draw_missing(parts, survey, plan, present)
    shared = find_shared(parts, texts)
    counts = {name: int((shared & (parts == number)).sum()) for number, name in enumerate(PARTS[:-1])}
    if is_cleaned:
        parts[shared] = REMOVED
    return Division(parts=parts, n_repeated=int(repeats.sum()), n_shared=counts, n_removed=int((parts < 0).sum()))


def report_on(name: str, survey: Survey, division: Division, parts: Sequence[PartReport],
              rows_at: Callable[[list[int]], Rows]) -> DataReport:
    """Return the report on divided rows; `rows_at` gives rows by their places in the survey."""
    conflicts = find_conflicts(survey.texts, survey.wholes, n_shown=_SHOWN_CONFLICTS)
    is_told = survey.has_precise_answers
    return DataReport(
        name=name, parts=tuple(parts), n_repeated=division.n_repeated, n_shared=division.n_shared,
        n_removed=division.n_removed, n_conflicts=conflicts.n_texts if is_told else 0,
        conflicts=tuple(_conflict(rows_at(rows.tolist())) for rows in conflicts.rows) if is_told else ())


def _draw_missing(parts: Parts, survey: Survey, plan: SplitPlan, present: Mapping[str, object]) -> None:
    """Give rows of train, in place, to the parts that the source does not have."""
    rows = np.flatnonzero(parts == 0)
    labels = survey.labels
    if labels is None:
        groups = {"": np.arange(len(rows)).tolist()}
    else:
        own = labels[rows]
        groups = {survey.label_names[label]: np.flatnonzero(own == label).tolist() for label in np.unique(own)}
    require_classes(groups, plan)
    if missing := plan_for_missing(plan, present):
        parts[rows] = np.frombuffer(draw_parts(groups, missing), dtype=np.int8)


def _conflict(rows: Rows) -> Conflict:
    text = next(value for value in rows[0].values() if isinstance(value, str | list))
    shown = text if isinstance(text, str) else " ".join(map(str, text))
    answers = dict.fromkeys(_answer(row) for row in rows)
    return Conflict(text=shown[:_SHOWN_CHARACTERS], answers=list(answers)[:_SHOWN_ANSWERS])


def _answer(row: Mapping[str, Any]) -> str:
    if "score" in row:
        return f"{row['score']:g}"
    return " ".join(labels_in(row))[:_SHOWN_CHARACTERS]
