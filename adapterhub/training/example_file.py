"""Encoded rows in one Arrow file: written piece by piece, read from the disk one by one as they are asked for."""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import pyarrow as pa  # type: ignore[import-untyped]

from adapterhub.tasks.task import Example, Row, TokenSequence

BATCH_BYTES = 1 << 20
"""What is held at once while a file is written."""
_SCHEMA = pa.schema([("example", pa.large_binary()), ("row", pa.large_binary()), ("length", pa.int32())])
_SEQUENCE_FIELDS = tuple(field.name for field in fields(TokenSequence))
_EXAMPLE_FIELDS = tuple(field.name for field in fields(Example) if field.name not in ("sequences", "row"))
_SPANS = _SEQUENCE_FIELDS.index("span_of_token")


def length_of(example: Example) -> int:
    """Return the tokens of an example's longest sequence."""
    return max(len(sequence.input_ids) for sequence in example.sequences)


class ExampleWriter:
    """Takes examples in, in their order; at most some BATCH_BYTES of them are in memory."""

    def __init__(self, file: Any) -> None:
        """Write to an open Arrow file; `open_writer` makes one."""
        self._file = file
        self._pending: list[tuple[bytes, bytes, int]] = []
        self._pending_bytes = 0
        self.n_examples = 0

    def write(self, examples: Sequence[Example]) -> None:
        """Append examples. Raises TypeError where a task's target is no value of JSON."""
        for example in examples:
            own = (_to_bytes(example), _json(dict(example.row)), length_of(example))
            self._pending.append(own)
            self._pending_bytes += len(own[0]) + len(own[1])
            if self._pending_bytes >= BATCH_BYTES:
                self.flush()
        self.n_examples += len(examples)

    def flush(self) -> None:
        """Put what is pending into the file."""
        if self._pending:
            self._file.write_batch(pa.record_batch(list(zip(*self._pending, strict=True)), schema=_SCHEMA))
            self._pending.clear()
            self._pending_bytes = 0


@contextmanager
def open_writer(path: Path) -> Iterator[ExampleWriter]:
    """Give a writer of a new file, which is whole when the block ends."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as file:
        writer = ExampleWriter(file)
        yield writer
        writer.flush()


class ExampleFile(Sequence[Example]):
    """The examples of one file. It is mapped into memory: the system keeps of it what there is room for."""

    def __init__(self, path: Path) -> None:
        """Open a file that `open_writer` wrote. Raises OSError or pa.ArrowException where it is not whole."""
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # a negative one counts from the end; IndexError as a list
        place = bisect_right(self._ends, index)
        batch = self._batches[place]
        at = index - self._ends[place] + batch.num_rows
        return _to_example(batch.column(0)[at].as_buffer(), json.loads(_text(batch.column(1)[at].as_buffer())))

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each example's longest sequence [N]."""
        return [length for batch in self._batches for length in batch.column(2).to_numpy().tolist()]

    def with_rows(self, rows: Sequence[Row]) -> list[Example]:
        """Return all examples with the rows that are in memory already, rather than those of the file."""
        values = (value for batch in self._batches for value in batch.column(0))
        return [_to_example(value.as_buffer(), row) for value, row in zip(values, rows, strict=True)]


def _to_bytes(example: Example) -> bytes:
    sequences = [[getattr(sequence, name) for name in _SEQUENCE_FIELDS] for sequence in example.sequences]
    return _json([sequences, [getattr(example, name) for name in _EXAMPLE_FIELDS]])


def _to_example(data: Any, row: Row) -> Example:
    sequences, values = json.loads(_text(data))
    for sequence in sequences:
        if sequence[_SPANS]:
            sequence[_SPANS] = [span if span is None else tuple(span) for span in sequence[_SPANS]]
    return Example(sequences=[TokenSequence(**dict(zip(_SEQUENCE_FIELDS, sequence, strict=True)))
                              for sequence in sequences],
                   row=row, **dict(zip(_EXAMPLE_FIELDS, values, strict=True)))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _text(buffer: Any) -> str:
    return bytes(buffer).decode()
