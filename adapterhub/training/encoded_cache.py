"""Encoded rows kept on the disk under the digest of all that decides them; bounded, and never trusted unchecked.

An entry is a folder with the examples and a file of facts. What is damaged is removed, as if it had not been there.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from adapterhub.data.report import Lengths
from adapterhub.errors import AdapterHubError, DataError
from adapterhub.files import (
    canonical_json,
    folder_written_whole,
    read_json,
    sha256_of_bytes,
    sha256_of_file,
    storage_errors,
)
from adapterhub.training.example_file import ExampleFile, ExampleWriter, open_writer

LIMIT_BYTES = 4 << 30
"""What all entries together may take; the ones that were not used for longest go first."""
_EXAMPLES, _FACTS = "examples.arrow", "facts.json"
_LEFT_BEHIND_S = 24 * 3600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Encoded rows of one part."""

    examples: ExampleFile
    lengths: Lengths
    """Of the rows, before they were cut."""


@dataclass(slots=True, kw_only=True)
class NewEntry:
    """An entry that is being written; its lengths are known at the end."""

    writer: ExampleWriter
    lengths: Lengths | None = None


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the key of what decides the encoded rows: plain values by name."""
    return sha256_of_bytes(canonical_json(dict(facts)))


class EncodedCache:
    """All entries in one folder."""

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """Use a folder, which appears with the first entry."""
        self.folder, self.limit_bytes = folder, limit_bytes
        self._used: set[Path] = set()

    def find(self, key: str) -> Entry | None:
        """Return an entry, compared with its digest; None where there is none, or where it is not what was written."""
        place = self.folder / key
        if not place.exists():
            return None
        try:
            facts = read_json(place / _FACTS)
            if sha256_of_file(place / _EXAMPLES) != facts["sha256"]:
                raise DataError("its examples are not those that were written")
            entry = Entry(examples=ExampleFile(place / _EXAMPLES), lengths=Lengths.of_dict(facts["lengths"]))
            os.utime(place / _FACTS)
        except (AdapterHubError, OSError, pa.ArrowException, KeyError, TypeError) as error:
            _log.warning("Encoded rows in %s are damaged and are made anew: %s", place, error)
            shutil.rmtree(place, ignore_errors=True)
            return None
        self._used.add(place)
        return entry

    @contextmanager
    def write(self, key: str) -> Iterator[NewEntry]:
        """Give an entry to be written, which is there when the block ends, unless another process was faster.

        Raises StorageError where the folder cannot be written.
        """
        place, own = self.folder / key, self.folder / f"{key}.{os.getpid()}"
        with folder_written_whole(own) as temporary:
            self.folder.chmod(0o700)  # it holds texts of the rows
            with open_writer(temporary / _EXAMPLES) as writer:
                entry = NewEntry(writer=writer)
                yield entry
            assert entry.lengths is not None, "the lengths are set inside the block"
            facts = {"sha256": sha256_of_file(temporary / _EXAMPLES), "lengths": asdict(entry.lengths)}
            (temporary / _FACTS).write_bytes(canonical_json(facts))
        with storage_errors(place):
            try:
                own.replace(place)
            except OSError:
                if not place.is_dir():
                    raise
                shutil.rmtree(own, ignore_errors=True)  # another process was faster, with the same rows
        self._used.add(place)
        self._trim()

    def _trim(self) -> None:
        """Remove the entries that were not used for longest until the rest fits; what this object gave out stays."""
        entries = sorted(((_used_at(place), place) for place in self.folder.iterdir() if place.is_dir()), reverse=True)
        total = sum(map(_size_of, self._used))
        for _, place in entries:
            if place in self._used or _is_being_written(place):
                continue
            total += _size_of(place)
            if total > self.limit_bytes:
                shutil.rmtree(place, ignore_errors=True)


def _is_being_written(place: Path) -> bool:
    """Say whether another process is at work there; what a killed one left behind is older than a day at some time."""
    return place.name.startswith(".") and _changed_at(place) > time.time() - _LEFT_BEHIND_S


def _changed_at(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0.0


def _used_at(place: Path) -> float:
    return _changed_at(place / _FACTS)


def _size_of(place: Path) -> int:
    try:
        return sum(file.stat().st_size for file in place.iterdir())
    except OSError:  # it was removed meanwhile
        return 0
