"""Hugging Face data sets by name, through `datasets` with its cache. It knows no fields and no files."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapterhub.data.formats import Table, table_of_dataset
from adapterhub.errors import DataError

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.+-]+)?")
_FILE_SUFFIXES = frozenset({".gz", ".zip", ".zst", ".xz", ".bz2", ".txt", ".xls", ".xlsx", ".xml", ".arrow", ".pkl"})


def may_be_dataset(source: str) -> bool:
    """Return whether a source that is no path could be `name`, `org/name` or one with `:config`."""
    return _NAME.fullmatch(source) is not None and Path(source).suffix.lower() not in _FILE_SUFFIXES


def load_tables(source: str) -> dict[str, Table]:
    """Load every split of a data set; `org/name:config` names one of its configurations. Raises as `load_parts`."""
    parts = load_parts(source)
    return {part: table_of_dataset(parts[part], f"{source} {part}") for part in parts}


def load_parts(source: str) -> Mapping[str, Any]:
    """Return the splits as `datasets.Dataset`: in its cache on the disk, written there once, and mapped from there.

    Raises DataError where the data set cannot be had: unknown, gated, offline, without this configuration.
    """
    import datasets

    name, _, config = source.partition(":")
    with quiet_datasets():
        try:
            splits: Mapping[str, Any] = datasets.load_dataset(name, config or None)
        except Exception as error:  # datasets and the Hub raise many kinds, all meaning: it cannot be had
            told = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
            raise DataError(f"No such file, folder or Hugging Face data set: {source} ({told}).",
                            hint="Check the path or the name.") from error
    return splits


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """Hold back the progress bars and logs of `datasets` inside the block."""
    import datasets

    verbosity, has_bars = datasets.logging.get_verbosity(), datasets.is_progress_bar_enabled()
    is_free = datasets.config.HF_DATASETS_DISABLE_PROGRESS_BARS is None  # else the environment decides
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    if is_free:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if has_bars and is_free:
            datasets.enable_progress_bars()
