"""Rows that stay on the disk: read again piece by piece whenever they are needed, curated as those in memory are.

Memory holds one piece, and some 20 bytes for each row.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple, Protocol, overload

from adapterhub.data.columns import Columns, match_columns
from adapterhub.data.curate import Curation, Division, divide, report_on
from adapterhub.data.digest import RowsDigest
from adapterhub.data.duplicates import REMOVED
from adapterhub.data.formats import Table, reading_errors, require_kind
from adapterhub.data.hub import load_parts
from adapterhub.data.labels import labels_in, rename_labels, require_renamed
from adapterhub.data.near_duplicates import shingles_for
from adapterhub.data.pieces import dataset_pieces, read_pieces
from adapterhub.data.read import Rows, to_rows
from adapterhub.data.report import DataReport, PartReport
from adapterhub.data.split import PARTS, SplitPlan, is_file, part_files, parts_of_dataset
from adapterhub.data.survey import Survey
from adapterhub.errors import DataError


class _Found(NamedTuple):
    """A row of the source, and the number of the part whose file holds it."""

    part: int
    row: dict[str, Any]


class Pieces(Protocol):
    """The rows of one part on the disk."""

    def read(self) -> Iterator[Table]:
        """Yield them in pieces, from the first on. Raises DataError, where a fault is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePieces:
    """Those of a file."""

    file: Path
    stamp: tuple[int, int]
    """Its size and time of change when it was opened first."""

    def read(self) -> Iterator[Table]:
        """Yield them; at the end DataError is raised where the file is not what it was."""
        yield from read_pieces(self.file)
        if _stamp_of(self.file) != self.stamp:
            raise DataError(f"{self.file} was changed while it was read.", hint="Use a copy that nothing writes to.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPieces:
    """Those of a data set, which `datasets` keeps in its cache."""

    dataset: Any
    name: str

    def read(self) -> Iterator[Table]:
        """Yield them."""
        yield from dataset_pieces(self.dataset, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where rows lie, and how they are read."""

    name: str
    parts: Mapping[str, Pieces]
    """What is in one file alone stands under `train`."""
    columns: Columns
    given: Mapping[str, str]
    label_names: Mapping[str, str]

    def rows(self) -> Iterator[_Found]:
        """Read all rows, part by part.

        Raises DataError as `read_rows`, where a fault is reached, and at a file's end where it is not what it was.
        """
        for number, part in enumerate(PARTS):
            if part in self.parts:
                for row in self._rows_as_they_are(part):
                    yield _Found(number, rename_labels(row, self.label_names) if self.label_names else row)

    def labels(self) -> set[str]:
        """Return every label under its old name."""
        return {label for part in self.parts for row in self._rows_as_they_are(part) for label in labels_in(row)}

    def _rows_as_they_are(self, part: str) -> Iterator[dict[str, Any]]:
        yield from _read(self.parts[part].read(), self.columns, self.given)


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """TrainingRows on the disk."""

    source: Source
    survey: Survey
    division: Division
    report: DataReport
    digests: dict[str, str]

    def rows_of(self, *parts: str) -> "PartRows":
        """Return the rows of some of PARTS, as the source has them; each pass over them reads the source."""
        return PartRows(self, {PARTS.index(part) for part in parts})

    def labels_of(self, part: str) -> list[str]:
        """Return each row's value of the field that splits keep in proportion."""
        labels = self.survey.labels
        assert labels is not None, "only tasks that split by a label have one"
        return [self.survey.label_names[label] for label in labels[self.division.parts == PARTS.index(part)]]


class PartRows(Sequence[dict[str, Any]]):
    """The rows of some parts, to be gone through in their order; a single one takes as long as reading up to it."""

    def __init__(self, streamed: Streamed, parts: set[int]) -> None:
        self._streamed, self._parts = streamed, parts
        self._length = sum(int((streamed.division.parts == part).sum()) for part in parts)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for found, part in _with_parts(self._streamed.source, self._streamed.division):
            if part in self._parts:
                yield found.row

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Rows:
        if isinstance(index, slice):
            return list(self)[index]
        wanted = range(len(self))[index]
        return next(row for i, row in enumerate(self) if i == wanted)


def read_streamed(source: str, *, columns: Columns, given: Mapping[str, str], plan: SplitPlan,
                  curation: Curation) -> Streamed:
    """Look through a file, a folder with train/validation/test files, or a data set, and divide its rows.

    Raises as `read_curated`; DataError for a kind of file that cannot be read in pieces.
    """
    shingles = shingles_for(curation.near_duplicates)
    stream = _open(source, columns, given, curation)
    if curation.label_names:
        require_renamed(curation.label_names, stream.labels())
    survey = Survey(label_field=plan.stratify_by, shingles=shingles)
    for found in stream.rows():
        survey.add(found.row, found.part)
    division = divide(survey, plan, curation, present=stream.parts)
    counts = [Counter[str]() for _ in PARTS]
    digests = [RowsDigest() for _ in PARTS]
    for found, part in _with_parts(stream, division):
        if part >= 0:
            counts[part].update(labels_in(found.row))
            digests[part].add(found.row)
    parts = [PartReport(name=name, n_rows=int((division.parts == number).sum()), labels=dict(counts[number]))
             for number, name in enumerate(PARTS)]

    def rows_at(places: set[int]) -> dict[int, dict[str, Any]]:
        return {i: found.row for i, found in enumerate(stream.rows()) if i in places} if places else {}

    return Streamed(source=stream, survey=survey, division=division,
                    report=report_on(stream.name, survey, division, parts, rows_at),
                    digests={name: digest.value for name, digest in zip(PARTS, digests, strict=True)})


def _open(source: str, columns: Columns, given: Mapping[str, str], curation: Curation) -> Source:
    path = Path(source)
    if path.is_dir():
        name, files = path.resolve().name, part_files(path)
    elif is_file(source):
        name, files = path.name.partition(".")[0], {"train": path}
    else:
        splits = load_parts(source)
        parts: Mapping[str, Pieces] = {part: DatasetPieces(dataset=splits[own], name=f"{source} {own}")
                                       for part, own in parts_of_dataset(source, splits).items()}
        return Source(name=source, parts=parts, columns=columns, given=given, label_names=curation.label_names)
    for file in files.values():
        require_kind(file)
    return Source(name=name, columns=columns, given=given, label_names=curation.label_names,
                  parts={part: FilePieces(file=file, stamp=_stamp_of(file)) for part, file in files.items()})


def _with_parts(source: Source, division: Division) -> Iterator[tuple[_Found, int]]:
    """Yield each row with the part it goes to; a source that has grown says so itself, at its end."""
    return zip(source.rows(), chain(division.parts.tolist(), repeat(REMOVED)), strict=False)


def _stamp_of(file: Path) -> tuple[int, int]:
    with reading_errors(file):
        facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


def _read(pieces: Iterator[Table], columns: Columns, given: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield a part's rows; its first piece settles which columns are read and which optional fields there are."""
    settled, number = columns, 1
    for table in pieces:
        if number > 1:  # what one piece of a file of objects lacks is a value that is missing, not a column
            table = replace(table, names=list(dict.fromkeys([*table.names, *given.values()])))
        rows = to_rows(table, columns=settled, given=given, first_number=number)
        if number == 1:
            chosen = columns.chosen_for(table.names, given)
            matched = match_columns(table.names, chosen, given, source=table.source)
            given = {name: matched[name] for name in matched if name in rows[0]}
            settled = Columns(required=tuple(given), optional=tuple(
                name for name in chosen.optional if name not in given))
        elif more := rows[0].keys() - given.keys():
            raise DataError(f"{table.source}: row {number} has a {min(more)}, and the rows before it have none.",
                            hint="Mend or remove these rows.")
        yield from rows
        number += table.n_rows
