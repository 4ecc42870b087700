"""Real rows for scenarios, from the folder of data sets that ADAPTERHUB_DATA names. It draws, it judges nothing."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from adapterhub.data.formats import Table, file_kind, read_table
from adapterhub.errors import DataError
from adapterhub.settings import Settings

T = TypeVar("T")


def read_part(settings: Settings, name: str, part: str) -> Table:
    """Return one part (train, validation, test) of a data set.

    Raises DataError where there is no data folder, no such data set in it, or no such part.
    """
    if settings.data is None:
        raise DataError("Scenarios need real rows, and there is no folder of data sets.",
                        hint="Set ADAPTERHUB_DATA to a folder whose data/ holds banking77, clinc150, sentfin, ...")
    folder = settings.data / "data" / name
    found = [path for path in _files(folder) if path.name.partition(".")[0] == part and file_kind(path)]
    if not found:
        raise DataError(f"{folder} holds no {part} rows.", hint=f"Put {part}.jsonl or {part}.jsonl.gz there.")
    return read_table(found[0])


def draw(items: Sequence[T], n: int, seed: int) -> list[T]:
    """Return `n` of the items, or all where there are fewer, in a drawn order."""
    return random.Random(seed).sample(items, min(n, len(items)))  # noqa: S311  # a sample, not a secret


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
