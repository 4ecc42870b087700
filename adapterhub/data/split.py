"""Rows into train, validation and test parts: given ones, or seeded and stratified."""

import random
from array import array
from collections.abc import Collection, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.data.columns import Columns
from adapterhub.data.digest import digest_of_parts, digest_of_rows
from adapterhub.data.formats import file_kind
from adapterhub.data.hub import load_tables, may_be_dataset
from adapterhub.data.read import Rows, read_rows, to_rows
from adapterhub.errors import DataError

FRACTIONS = (0.70, 0.15, 0.15)
PARTS = ("train", "validation", "test")
_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The rows of one task, in three parts that share none."""

    name: str
    train: Rows
    validation: Rows
    test: Rows

    @property
    def n_rows(self) -> dict[str, int]:
        """Rows per part."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    @property
    def digest(self) -> str:
        """SHA-256 over all rows in their parts and order, 64 hex digits."""
        return digest_of_parts({"train": digest_of_rows(self.train), "validation": digest_of_rows(self.validation),
                                "test": digest_of_rows(self.test)})


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """How rows are divided where the source does not say."""

    fractions: tuple[float, float, float] = FRACTIONS
    seed: int = 0
    stratify_by: str | None = None
    """A field whose values keep their proportions."""


def read_splits(source: str, *, columns: Columns, given: Mapping[str, str], plan: SplitPlan) -> Splits:
    """Read a file, a folder with train/validation/test files, or a Hugging Face data set, in three parts.

    Parts that a source has are kept; missing ones are split off. Raises DataError as `read_rows` and `split_rows`.
    """
    name, parts = read_parts(source, columns=columns, given=given)
    return _complete(name, parts, plan)


def read_parts(source: str, *, columns: Columns, given: Mapping[str, str]) -> tuple[str, dict[str, Rows]]:
    """Return a source's name and its rows by part; all are `train` where it has no parts. Raises as `read_rows`."""
    path = Path(source)
    if path.is_dir():
        files = part_files(path)
        return path.resolve().name, {part: read_rows(file, columns=columns, given=given)
                                     for part, file in files.items()}
    if is_file(source):
        return path.name.partition(".")[0], {"train": read_rows(path, columns=columns, given=given)}
    return source, _read_hub(source, columns, given)


def read_test_rows(source: str, *, columns: Columns, given: Mapping[str, str]) -> Rows:
    """Read the rows to evaluate on: a file's own, or the test part of a folder or Hugging Face data set.

    Raises DataError as `read_rows`, and where there is no test part.
    """
    path = Path(source)
    if not path.is_dir() and not is_file(source):
        tables = load_tables(source)
        parts = _parts_among(tables)
        if "test" not in parts:
            raise DataError(f"{source} has no test part, it has {', '.join(parts)}.", hint="Give a file instead.")
        return to_rows(tables[parts["test"]], columns=columns, given=given)
    if path.is_dir():
        files = part_files(path)
        if "test" not in files:
            raise DataError(f"{source} holds no test file.", hint="Name the file itself.")
        path = files["test"]
    return read_rows(path, columns=columns, given=given)


def split_rows(rows: Rows, plan: SplitPlan) -> tuple[Rows, Rows, Rows]:
    """Divide rows by the plan's fractions; each part keeps the rows' order.

    Raises DataError where a class is too rare to stand in each part, or there are too few rows.
    """
    part_of = draw_parts(_groups(rows, plan.stratify_by), plan)
    train, validation, test = ([row for row, part in zip(rows, part_of, strict=True) if part == number]
                               for number in range(len(PARTS)))
    return train, validation, test


def draw_parts(groups: Mapping[str, Sequence[int]], plan: SplitPlan) -> bytearray:
    """Return the part, a place in PARTS, of rows 0 to N - 1; each group (label -> its rows) keeps the proportions.

    Raises DataError as `split_rows`.
    """
    n_parts, n_rows = sum(fraction > 0 for fraction in plan.fractions), sum(map(len, groups.values()))
    if rare := {label: len(members) for label, members in groups.items() if len(members) < n_parts}:
        told = ", ".join(f"{label} ({count})" for label, count in sorted(rare.items())[:5])
        told = f"{told} and {len(rare) - 5} more" if len(rare) > 5 else told
        told = told if plan.stratify_by else f"all ({n_rows})"
        raise DataError(f"Too few rows to split into {n_parts} parts: {told}.",
                        hint=f"Each class needs at least {n_parts} rows; add rows or give the parts as files.")
    generator = random.Random(plan.seed)  # noqa: S311  # a split, not a secret
    part_of = bytearray(n_rows)
    for label in sorted(groups):
        members = array("q", groups[label])
        generator.shuffle(members)
        for row, part in zip(members, _parts(len(members), plan.fractions), strict=True):
            part_of[row] = part
    return part_of


def plan_for_missing(plan: SplitPlan, present: Mapping[str, object]) -> SplitPlan | None:
    """Return the plan by which training rows give up the parts that are not present; None where none is missing."""
    whole, *others = plan.fractions
    first, second = (0.0 if part in present else share for part, share in zip(PARTS[1:], others, strict=True))
    return replace(plan, fractions=(whole, first, second)) if first or second else None


def require_classes(groups: Mapping[str, Sequence[int]], plan: SplitPlan) -> None:
    """Raise DataError where all training rows, grouped by label, have the same one."""
    if plan.stratify_by and len(groups) == 1:
        label, members = next(iter(groups.items()))
        raise DataError(f"All {len(members)} rows have the {plan.stratify_by} {label!r}.",
                        hint="A classifier needs rows of at least two labels.")


def _parts(count: int, fractions: tuple[float, float, float]) -> list[int]:
    """Return each member's part: largest remainders, and at least one in every part that is asked for."""
    shares = [count * fraction / sum(fractions) for fraction in fractions]
    sizes = [int(share) for share in shares]
    for part in sorted(range(3), key=lambda part: sizes[part] - shares[part])[:count - sum(sizes)]:
        sizes[part] += 1
    for part in range(3):
        if fractions[part] > 0 and sizes[part] == 0:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[part] = 1
    return [part for part, size in enumerate(sizes) for _ in range(size)]


def _complete(name: str, parts: Mapping[str, Rows], plan: SplitPlan) -> Splits:
    rows = parts["train"]
    require_classes(_groups(rows, plan.stratify_by), plan)
    missing = plan_for_missing(plan, parts)
    train, validation, test = split_rows(rows, missing) if missing else (rows, [], [])
    return Splits(name=name, train=train, validation=parts.get("validation", validation), test=parts.get("test", test))


def _groups(rows: Rows, field: str | None) -> dict[str, MutableSequence[int]]:
    groups: dict[str, MutableSequence[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row[field] if field else "", array("q")).append(i)
    return groups


def part_files(folder: Path) -> dict[str, Path]:
    """Return a folder's files by part. Raises DataError where there is no train file, or several of one part."""
    files: dict[str, Path] = {}
    for part, names in _NAMES.items():
        found = [file for file in sorted(folder.iterdir())
                 if file_kind(file) and file.name.partition(".")[0].lower() in names]
        if len(found) > 1:
            raise DataError(f"{folder} holds several {part} files: {', '.join(file.name for file in found)}.",
                            hint="Keep one.")
        files.update(zip([part], found, strict=False))
    if "train" not in files:
        entries: Sequence[str] = sorted(file.name for file in folder.iterdir())[:6]
        raise DataError(f"{folder} holds no train file, it holds {', '.join(entries) or 'nothing'}.",
                        hint="Name the files train, validation and test, with .csv, .jsonl or .parquet behind.")
    return files


def _read_hub(name: str, columns: Columns, given: Mapping[str, str]) -> dict[str, Rows]:
    tables = load_tables(name)
    return {part: to_rows(tables[own], columns=columns, given=given)
            for part, own in parts_of_dataset(name, tables).items()}


def parts_of_dataset(name: str, splits: Collection[str]) -> dict[str, str]:
    """Return a data set's own names of its splits by part. Raises DataError where there is no train part."""
    parts = _parts_among(splits)
    if "train" not in parts:
        raise DataError(f"{name} has no train part, it has {', '.join(splits)}.", hint="Choose another data set.")
    return parts


def _parts_among(splits: Collection[str]) -> dict[str, str]:
    return {part: found[0] for part, names in _NAMES.items() if (found := [own for own in names if own in splits])}


def is_file(source: str) -> bool:
    """A source that is no folder names a file where it exists, looks like one, or cannot be a data set's name."""
    path = Path(source)
    return path.exists() or file_kind(path) is not None or not may_be_dataset(source)
