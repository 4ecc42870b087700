"""Rows into train, validation and test parts: given ones, or seeded and stratified."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.data.columns import Columns
from adapterhub.data.formats import Table, file_kind
from adapterhub.data.hub import load_tables, may_be_dataset
from adapterhub.data.read import Rows, read_rows, to_rows
from adapterhub.errors import DataError
from adapterhub.files import canonical_json, sha256_of_bytes

FRACTIONS = (0.70, 0.15, 0.15)
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
        """SHA-256 over all rows in their order, 64 hex digits."""
        return sha256_of_bytes(canonical_json([self.train, self.validation, self.test]))


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
    path = Path(source)
    if path.is_dir():
        parts = {part: read_rows(file, columns=columns, given=given) for part, file in _part_files(path).items()}
        name = path.resolve().name
    elif _is_file(source):
        parts, name = {"train": read_rows(path, columns=columns, given=given)}, path.name.partition(".")[0]
    else:
        parts, name = _read_hub(source, columns, given), source
    return _complete(name, parts, plan)


def read_test_rows(source: str, *, columns: Columns, given: Mapping[str, str]) -> Rows:
    """Read the rows to evaluate on: a file's own, or the test part of a folder or Hugging Face data set.

    Raises DataError as `read_rows`, and where there is no test part.
    """
    path = Path(source)
    if not path.is_dir() and not _is_file(source):
        parts = _parts_of_dataset(load_tables(source))
        if "test" not in parts:
            raise DataError(f"{source} has no test part, it has {', '.join(parts)}.", hint="Give a file instead.")
        return to_rows(parts["test"], columns=columns, given=given)
    if path.is_dir():
        files = _part_files(path)
        if "test" not in files:
            raise DataError(f"{source} holds no test file.", hint="Name the file itself.")
        path = files["test"]
    return read_rows(path, columns=columns, given=given)


def split_rows(rows: Rows, plan: SplitPlan) -> tuple[Rows, Rows, Rows]:
    """Divide rows by the plan's fractions; each part keeps the rows' order.

    Raises DataError where a class is too rare to stand in each part, or there are too few rows.
    """
    n_parts = sum(fraction > 0 for fraction in plan.fractions)
    groups: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[row[plan.stratify_by] if plan.stratify_by else None].append(i)
    if rare := {str(label): len(members) for label, members in groups.items() if len(members) < n_parts}:
        told = ", ".join(f"{label} ({count})" for label, count in sorted(rare.items())[:5])
        told = f"{told} and {len(rare) - 5} more" if len(rare) > 5 else told
        told = told if plan.stratify_by else f"all ({len(rows)})"
        raise DataError(f"Too few rows to split into {n_parts} parts: {told}.",
                        hint=f"Each class needs at least {n_parts} rows; add rows or give the parts as files.")
    generator = random.Random(plan.seed)  # noqa: S311  # a split, not a secret
    part_of: dict[int, int] = {}
    for label in sorted(groups, key=str):
        members = groups[label]
        generator.shuffle(members)
        part_of.update(zip(members, _parts(len(members), plan.fractions), strict=True))
    train, validation, test = ([row for i, row in enumerate(rows) if part_of[i] == part] for part in range(3))
    return train, validation, test


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


def _complete(name: str, parts: dict[str, Rows], plan: SplitPlan) -> Splits:
    train, validation, test = parts["train"], parts.get("validation"), parts.get("test")
    _require_classes(train, plan)
    whole, first, second = plan.fractions
    missing = (whole, 0.0 if validation is not None else first, 0.0 if test is not None else second)
    if missing[1] or missing[2]:
        train, split_validation, split_test = split_rows(
            train, SplitPlan(fractions=missing, seed=plan.seed, stratify_by=plan.stratify_by))
        validation = split_validation if validation is None else validation
        test = split_test if test is None else test
    return Splits(name=name, train=train, validation=validation or [], test=test or [])


def _require_classes(rows: Rows, plan: SplitPlan) -> None:
    if plan.stratify_by:
        counts = Counter(row[plan.stratify_by] for row in rows)
        if len(counts) == 1:
            raise DataError(f"All {len(rows)} rows have the {plan.stratify_by} {next(iter(counts))!r}.",
                            hint="A classifier needs rows of at least two labels.")


def _part_files(folder: Path) -> dict[str, Path]:
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
    parts = _parts_of_dataset(tables)
    if "train" not in parts:
        raise DataError(f"{name} has no train part, it has {', '.join(tables)}.", hint="Choose another data set.")
    return {part: to_rows(table, columns=columns, given=given) for part, table in parts.items()}


def _parts_of_dataset(tables: Mapping[str, Table]) -> dict[str, Table]:
    return {part: tables[found[0]] for part, names in _NAMES.items() if (found := [n for n in names if n in tables])}


def _is_file(source: str) -> bool:
    """A source that is no folder names a file where it exists, looks like one, or cannot be a data set's name."""
    path = Path(source)
    return path.exists() or file_kind(path) is not None or not may_be_dataset(source)
