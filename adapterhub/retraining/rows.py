"""The rows of a retraining: those that are given, with what was corrected; and what is held out of both."""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.adapter.manifest import Manifest
from adapterhub.data.columns import Columns
from adapterhub.data.curate import Curation, read_curated
from adapterhub.data.formats import Table
from adapterhub.data.read import to_rows
from adapterhub.data.split import SplitPlan, Splits
from adapterhub.errors import DataError
from adapterhub.feedback.records import CORRECTION_FIELDS
from adapterhub.files import canonical_json
from adapterhub.retraining.carried import fractions_of
from adapterhub.tasks.task import Task

HELD_OUT = 0.2
"""Share of the corrections that both versions are measured on instead of learned."""
_LEAST_HELD_OUT = 10
"""Of fewer corrections none is held out: too few to say anything."""
_REFERENCES = "references"
"""Further right texts, which rows of tasks that write may have."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Corrections that are not learned, by why."""

    n_unreadable: int
    """Rows that the task does not read, or of other fields than the given ones."""
    n_strange_labels: int
    """Of labels that the adapter does not have."""
    n_in_test: int
    """Whose text stands in the held-out rows too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRows:
    """Everything that is learned and measured."""

    splits: Splits
    """The given rows, the corrections among the training ones."""
    corrections: Rows
    """Of the corrections, those that are held out."""
    n_learned: int
    n_replaced: int
    """Training rows whose answer a correction changed."""
    left_out: LeftOut


def retraining_rows(source: str, lessons: Iterable[Mapping[str, Any]], task: Task, manifest: Manifest, *,
                    columns: Mapping[str, str], label_names: Mapping[str, str] | None = None) -> RetrainingRows:
    """Divide the given rows as the published version's run did, and put the corrections among the training ones.

    `label_names` are the names that labels of the given rows get; corrections have them already. Raises as
    `read_curated`, and DataError where no correction is left.
    """
    plan = SplitPlan(fractions=fractions_of(manifest), seed=manifest.training.seed, stratify_by=task.stratify_by)
    ran = manifest.training.hyperparameters
    near = ran.get("near_duplicates")
    splits = read_curated(source, columns=task.columns, given=columns, plan=plan,
                          curation=Curation(label_names=label_names or {},
                                            is_cleaned=ran.get("remove_duplicates") is True,
                                            near_duplicates=near if isinstance(near, int | float) else None)).splits
    read, n_unreadable = _read_all(lessons, task, set(splits.train[0]))
    known = _labels_known(manifest.labels, task)
    good = [row for row in read if known(row)]
    held_back = {_asked(row, task) for row in (*splits.validation, *splits.test)}
    taught = [row for row in good if _asked(row, task) not in held_back]
    left_out = LeftOut(n_unreadable=n_unreadable, n_strange_labels=len(read) - len(good),
                       n_in_test=len(good) - len(taught))
    if not taught:
        raise DataError(f"No correction can be learned: {n_unreadable} are no rows for {task.name} like those given, "
                        f"{left_out.n_strange_labels} have labels that the adapter does not have, "
                        f"{left_out.n_in_test} stand in the held-out rows.",
                        hint="Corrections need a server with --store-inputs; see `adapterhub feedback list`.")
    learned, corrections = _hold_out(taught, seed=manifest.training.seed)
    by_text = {_asked(row, task): row for row in learned}
    kept = [row for row in splits.train if _asked(row, task) not in by_text]
    return RetrainingRows(splits=Splits(name=splits.name, train=kept + list(by_text.values()),
                                        validation=splits.validation, test=splits.test),
                          corrections=corrections, n_learned=len(by_text), n_replaced=len(splits.train) - len(kept),
                          left_out=left_out)


def write_parts(rows: RetrainingRows, folder: Path) -> Path:
    """Write train, validation and test as JSON lines, and return the folder."""
    folder.mkdir()
    for name, part in (("train", rows.splits.train), ("validation", rows.splits.validation),
                       ("test", rows.splits.test)):
        if part:
            write_rows(folder / f"{name}.jsonl", part)
    return folder


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSON lines, and return the file."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def _read_all(lessons: Iterable[Mapping[str, Any]], task: Task, fields: set[str]) -> tuple[Rows, int]:
    """Read each by itself, so that one at fault does not hold up the others; count those that cannot be read."""
    rows: Rows = []
    n_unreadable = 0
    for lesson in lessons:
        own = {name: value for name, value in lesson.items() if name in fields}
        try:
            read = to_rows(_table(own), columns=_exactly(task.columns, fields), given={})
        except DataError:
            read = []
        rows += [_with_references(row) for row in read] if _REFERENCES in fields else read
        n_unreadable += not read
    return rows, n_unreadable


def _with_references(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of texts with what is right as its one reference, as rows have them that have any."""
    right = row["messages"][-1]["content"] if "messages" in row else row["completion"]
    return {**row, _REFERENCES: [right]}


def _exactly(columns: Columns, fields: set[str]) -> Columns:
    """Return the columns of rows that have exactly these fields; what else would be right need not be said."""
    fields = fields - {_REFERENCES}
    return Columns(required=tuple(name for name in (*columns.required, *columns.optional,
                                                    *(name for other in columns.others for name in other))
                                  if name in fields))


def _table(row: Mapping[str, Any]) -> Table:
    return Table(source="a correction", names=list(row), n_rows=1, column=lambda name: [row[name]])


def _labels_known(labels: Sequence[str], task: Task) -> Callable[[Mapping[str, Any]], bool]:
    """Return what says whether a row has none but the adapter's labels."""
    known = set(labels)

    def is_known(row: Mapping[str, Any]) -> bool:
        given = {"text-classification": lambda: [row["label"]], "multi-label-classification": lambda: row["labels"],
                 "token-classification": lambda: row["tags"]}.get(task.name)
        return given is None or known.issuperset(given())
    return is_known


def _asked(row: Mapping[str, Any], task: Task) -> bytes:
    """Return what a row asks, without what is right."""
    answers = {*CORRECTION_FIELDS.get(task.name, ()), _REFERENCES} - {"tokens", "query"}
    if "messages" in row:
        return canonical_json(row["messages"][:-1])
    return canonical_json({name: value for name, value in row.items() if name not in answers})


def _hold_out(rows: Rows, *, seed: int) -> tuple[Rows, Rows]:
    """Return the rows to learn and those held out."""
    n_held_out = round(HELD_OUT * len(rows)) if len(rows) >= _LEAST_HELD_OUT else 0
    chosen = set(random.Random(seed).sample(range(len(rows)), n_held_out))  # noqa: S311  # a split, not a secret
    return [row for i, row in enumerate(rows) if i not in chosen], [row for i, row in enumerate(rows) if i in chosen]
