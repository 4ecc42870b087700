"""Rows made ready: labels renamed, doubles found and left out if asked, three parts, and a report on all of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from adapterhub.data.columns import Columns
from adapterhub.data.digest import digest_of_rows
from adapterhub.data.duplicates import REMOVED, Conflicts, Mask, Parts, find_conflicts, find_repeats, find_shared
from adapterhub.data.labels import OUTSIDE, count_labels, labels_in, rename_labels, require_renamed
from adapterhub.data.near_duplicates import find_near_repeats, find_near_shared, shingles_for
from adapterhub.data.read import Rows
from adapterhub.data.report import Conflict, DataReport, NearReport, PartReport
from adapterhub.data.split import (
    PARTS,
    SplitPlan,
    Splits,
    draw_parts,
    plan_for_missing,
    read_parts,
    require_classes,
)
from adapterhub.data.survey import Numbers, Survey

_SHOWN_CONFLICTS, _SHOWN_NEAR, _SHOWN_CHARACTERS, _SHOWN_ANSWERS = 5, 5, 80, 4
_LOOKED_AT = 100
"""Rows of one text whose answers are looked at, for those that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """What is done to rows before they are divided."""

    label_names: Mapping[str, str] = field(default_factory=dict)
    """Old label -> new one; of tags the entity types, `O` for none."""
    is_cleaned: bool = False
    """Whether rows are left out that repeat another of their part, or whose text stands in a part that measures."""
    near_duplicates: float | None = None
    """The share of word pairs from which on two texts are nearly the same, and count as such; None: not looked for."""


class TrainingRows(Protocol):
    """Rows in three parts, in memory or on the disk, and what was found in them."""

    @property
    def report(self) -> DataReport:
        """What was found; no lengths."""

    @property
    def digests(self) -> Mapping[str, str]:
        """The digest of each part's rows in their order."""

    def rows_of(self, *parts: str) -> Sequence[Mapping[str, Any]]:
        """Return the rows of some of PARTS; where they are on the disk, one pass over them reads the source."""

    def labels_of(self, part: str) -> list[str]:
        """Return each row's value of the field that splits keep in proportion."""


@dataclass(frozen=True, kw_only=True)
class Curated:
    """TrainingRows in memory."""

    splits: Splits
    report: DataReport
    label_field: str | None

    @cached_property
    def digests(self) -> dict[str, str]:
        """The digest of each part's rows in their order."""
        return {part: digest_of_rows(self.rows_of(part)) for part in PARTS}

    def rows_of(self, *parts: str) -> Rows:
        """Return the rows of some of PARTS."""
        by_part = {"train": self.splits.train, "validation": self.splits.validation, "test": self.splits.test}
        return [row for part in parts for row in by_part[part]]

    def labels_of(self, part: str) -> list[str]:
        """Return each row's value of the field that splits keep in proportion."""
        assert self.label_field is not None, "only tasks that split by a label have one"
        return [row[self.label_field] for row in self.rows_of(part)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Which part each surveyed row goes to, and the doubles among them."""

    parts: Parts
    n_repeated: int
    n_shared: dict[str, int]
    n_removed: int
    near: "NearRows | None" = None
    """None where they were not looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearRows:
    """Rows that say nearly the same as another."""

    least: float
    repeats: Numbers
    """The row of its own part that each row [N] is nearly like; -1 for none."""
    shared: Numbers
    """The row of a part that measures [N]; -1 for none."""
    n_shared: dict[str, int]


def read_curated(source: str, *, columns: Columns, given: Mapping[str, str], plan: SplitPlan,
                 curation: Curation) -> Curated:
    """Read a source as `read_splits`, curated.

    Raises as `read_splits`; UnknownName where a label is renamed that no row has; InvalidConfig where near-duplicates
    are looked for without the extra.
    """
    shingles = shingles_for(curation.near_duplicates)
    name, read = read_parts(source, columns=columns, given=given)
    rows = [rename_labels(row, curation.label_names) if curation.label_names else row
            for part in PARTS for row in read.get(part, ())]
    require_renamed(curation.label_names, (label for part in read.values() for row in part for label in labels_in(row)))
    survey = Survey(label_field=plan.stratify_by, shingles=shingles)
    places = [number for number, part in enumerate(PARTS) for _ in read.get(part, ())]
    for row, place in zip(rows, places, strict=True):
        survey.add(row, place)
    division = divide(survey, plan, curation, present=read)
    parts: list[Rows] = [[rows[i] for i in np.flatnonzero(division.parts == number)] for number in range(len(PARTS))]
    splits = Splits(name=name, train=parts[0], validation=parts[1], test=parts[2])
    reports = [PartReport(name=part, n_rows=len(own), labels=dict(count_labels(own)))
               for part, own in zip(PARTS, parts, strict=True)]
    report = report_on(name, survey, division, reports, lambda places: {place: rows[place] for place in places})
    return Curated(splits=splits, report=report, label_field=plan.stratify_by)


def divide(survey: Survey, plan: SplitPlan, curation: Curation, *, present: Mapping[str, object]) -> Division:
    """Decide where each row goes: repeated ones out, missing parts drawn, shared ones out of what is learned.

    `present` are the parts that the source has. Raises DataError as `split_rows`.
    """
    parts, texts = survey.parts.copy(), survey.texts
    least, shingles = curation.near_duplicates, survey.shingles
    repeats = find_repeats(parts, survey.wholes)
    nearly = np.full(len(parts), -1)
    if least is not None and shingles is not None:
        nearly = find_near_repeats(parts, shingles, survey.answers, least=least, apart=repeats)
    if curation.is_cleaned:
        parts[repeats | (nearly >= 0)] = REMOVED
    _draw_missing(parts, survey, plan, present)
    shared = find_shared(parts, texts)
    counts, near, to_remove = _by_part(shared, parts), None, shared
    if least is not None and shingles is not None:
        like = find_near_shared(parts, shingles, least=least, apart=shared)
        near = NearRows(least=least, repeats=nearly, shared=like, n_shared=_by_part(like >= 0, parts))
        to_remove = shared | (like >= 0)
    if curation.is_cleaned:
        parts[to_remove] = REMOVED
    return Division(parts=parts, n_repeated=int(repeats.sum()), n_shared=counts, n_removed=int((parts < 0).sum()),
                    near=near)


def _by_part(shared: Mask, parts: Parts) -> dict[str, int]:
    return {name: int((shared & (parts == number)).sum()) for number, name in enumerate(PARTS[:-1])}


def report_on(name: str, survey: Survey, division: Division, parts: Sequence[PartReport],
              rows_at: Callable[[set[int]], Mapping[int, Mapping[str, Any]]]) -> DataReport:
    """Return the report on divided rows; `rows_at` gives rows by their places in the survey."""
    found = Conflicts(n_texts=0, rows=[])
    if survey.has_precise_answers:
        found = find_conflicts(survey.texts, survey.wholes, n_shown=_SHOWN_CONFLICTS)
    places = [rows[:_LOOKED_AT].tolist() for rows in found.rows]
    pairs = _near_pairs(division.near) if division.near else []
    rows = rows_at({place for own in [*places, *pairs] for place in own})
    return DataReport(name=name, parts=tuple(parts), n_repeated=division.n_repeated, n_shared=division.n_shared,
                      n_removed=division.n_removed, n_conflicts=found.n_texts,
                      conflicts=tuple(_conflict([rows[place] for place in own]) for own in places),
                      near=_near_report(division.near, pairs, rows) if division.near else None)


def _near_pairs(near: NearRows) -> list[tuple[int, int]]:
    """Return the first rows that are nearly like another, each with that one; no pair the other way round again."""
    like = np.where(near.repeats >= 0, near.repeats, near.shared).tolist()
    pairs = [(row, other) for row, other in enumerate(like) if other >= 0]
    return list({frozenset(pair): pair for pair in reversed(pairs)}.values())[::-1][:_SHOWN_NEAR]


def _near_report(near: NearRows, pairs: Sequence[tuple[int, int]],
                 rows: Mapping[int, Mapping[str, Any]]) -> NearReport:
    return NearReport(least=near.least, n_repeated=int((near.repeats >= 0).sum()), n_shared=near.n_shared,
                      examples=tuple((_shown(rows[row]), _shown(rows[other])) for row, other in pairs))


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


def _conflict(rows: Sequence[Mapping[str, Any]]) -> Conflict:
    answers = dict.fromkeys(_answer(row) for row in rows)
    return Conflict(text=_shown(rows[0]), answers=list(answers)[:_SHOWN_ANSWERS])


def _shown(row: Mapping[str, Any]) -> str:
    text = next(value for value in row.values() if isinstance(value, str | list))
    return (text if isinstance(text, str) else " ".join(map(str, text)))[:_SHOWN_CHARACTERS]


def _answer(row: Mapping[str, Any]) -> str:
    if "score" in row:
        return f"{row['score']:g}"
    if "tags" in row:
        tagged = [f"{word} {tag}" for word, tag in zip(row["tokens"], row["tags"], strict=True) if tag != OUTSIDE]
        return (", ".join(tagged) or "no entity")[:_SHOWN_CHARACTERS]
    return " ".join(labels_in(row))[:_SHOWN_CHARACTERS]
