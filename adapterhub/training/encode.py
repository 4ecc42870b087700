"""Rows of one part to examples: from the cache where it has them, else piece by piece, and measured on the way."""

import gc
import hashlib
import importlib.metadata
import inspect
import logging
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adapterhub.tasks.task
from adapterhub.bases.load import Base, quiet_transformers
from adapterhub.data.pieces import in_pieces
from adapterhub.data.report import Lengths
from adapterhub.errors import StorageError
from adapterhub.progress import Progress, Silent
from adapterhub.tasks.task import Example, Row, Task
from adapterhub.training.encoded_cache import EncodedCache, key_of
from adapterhub.training.example_file import ExampleFile, length_of

UNCUT = 1 << 20
"""Tokens to which a text that was cut is encoded once more, to be measured whole."""
_LIBRARIES = ("transformers", "tokenizers", "adapterhub")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One part's rows, encoded."""

    examples: Sequence[Example]
    lengths: Lengths
    """Of the rows, before they were cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """How examples become what training learns one by one."""

    name: str
    """What tells it from other ways."""
    of: Callable[[Sequence[Example]], Sequence[Example]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Everything that decides what rows become."""

    task: Task
    base: Base
    labels: list[str]
    max_length: int
    cache: EncodedCache

    def encode(self, rows: Sequence[Row], digest: str, progress: Progress | None = None) -> Encoded:
        """Return rows as examples in memory; `digest` is that of the rows. Raises DataError for an unusable row."""
        key = self._key(digest, "examples")
        with _collector_paused():
            if (entry := self.cache.find(key)) and len(entry.examples) == len(rows):
                return Encoded(examples=entry.examples.with_rows(rows), lengths=entry.lengths)
            tally, examples = _Tally(self), list[Example]()
            for piece in in_pieces(rows):
                examples += tally.encode(piece)
                (progress or Silent()).update(len(examples))
            encoded = Encoded(examples=examples, lengths=tally.lengths())
            if rows:
                self._keep(key, encoded)
        return encoded

    def encode_to_disk(self, rows: Sequence[Row], digest: str, progress: Progress | None = None,
                       lessons: Lessons | None = None) -> Encoded:
        """Return rows as examples, or as what training learns one by one, that stay on the disk; in pieces.

        Raises DataError for an unusable row, StorageError where the cache cannot be written.
        """
        key = self._key(digest, lessons.name if lessons else "examples")
        entry = self.cache.find(key)
        if entry is None:
            tally = _Tally(self)
            with self.cache.write(key) as new:
                for piece in in_pieces(rows):
                    examples = tally.encode(piece)
                    new.writer.write(lessons.of(examples) if lessons else examples)
                    (progress or Silent()).update(tally.n_rows)
                new.lengths = tally.lengths()
            entry = self.cache.find(key)
        if entry is None:
            raise StorageError(f"Encoded rows in {self.cache.folder} were changed while they were read.",
                               hint="Start again; set ADAPTERHUB_CACHE to a folder that nothing else clears.")
        return Encoded(examples=entry.examples, lengths=entry.lengths)

    def encode_rows(self, rows: Sequence[Row], max_length: int) -> list[Example]:
        """Return a piece's rows as examples of at most `max_length` tokens."""
        with quiet_transformers():  # it warns of texts that are longer than the base reads, which are cut here
            return self.task.encode(rows, self.base.tokenizer, self.labels, max_length)

    def _key(self, digest: str, form: str) -> str:
        return key_of({"rows": digest, "form": form, "task": self.task.name, "labels": self.labels,
                       "settings": repr(sorted(vars(self.task).items())), "max_length": self.max_length,
                       "tokenizer": self.base.identity.tokenizer, "code": _code_digest(type(self.task)),
                       "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES}})

    def _keep(self, key: str, encoded: Encoded) -> None:
        """Write an entry; a run does not fail where that cannot be."""
        try:
            with self.cache.write(key) as new:
                new.writer.write(encoded.examples)
                new.lengths = encoded.lengths
        except (StorageError, TypeError) as error:  # TypeError: a stranger's task, whose targets are no JSON
            _log.warning("Encoded rows are not kept: %s", error)


class _Tally:
    """Encodes pieces and counts their tokens: a text that was cut is encoded once more as a whole."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._whole, self._kept = array("l"), array("l")
        self._n_cut = 0

    @property
    def n_rows(self) -> int:
        return len(self._kept)

    def encode(self, rows: Sequence[Row]) -> list[Example]:
        examples = self._encoder.encode_rows(rows, self._encoder.max_length)
        kept = [length_of(example) for example in examples]
        whole = kept.copy()
        if cut := [i for i, example in enumerate(examples) if example.is_truncated]:
            for i, example in zip(cut, self._encoder.encode_rows([rows[i] for i in cut], UNCUT), strict=True):
                whole[i] = max(length_of(example), kept[i])
        self._kept.extend(kept)
        self._whole.extend(whole)
        self._n_cut += len(cut)
        return examples

    def lengths(self) -> Lengths:
        return Lengths.of(self._whole, self._kept, self._n_cut)


def lengths_of(examples: Sequence[Example]) -> list[int]:
    """Return the tokens of each example's longest sequence [N], without reading those that stay on the disk."""
    return examples.lengths if isinstance(examples, ExampleFile) else [length_of(example) for example in examples]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python's collector from looking through every object of torch each time that some thousand lists were made.

    It took 0.55 of the 0.75 seconds in which 13,000 rows come from the cache.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _code_digest(task: type[Any]) -> str:
    """Return a hash of the code that encodes: the package of the tasks, and the task's own file where it is another."""
    digest = hashlib.sha256()
    own = inspect.getsourcefile(task)
    files = {*Path(adapterhub.tasks.task.__file__).parent.glob("*.py"), *([Path(own)] if own else [])}
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()
