"""Tensor files: what a safetensors header says, and its tensors as NumPy arrays. It knows no names in them.

The header is read here and not by `safetensors`, which copies every tensor; a test holds both to the same answers.
Source: the format, https://github.com/huggingface/safetensors#format.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapterhub.errors import InvalidFolder

_NUMPY_TYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8"),
                                          "BF16": np.dtype("<u2")}
TORCH_NAMES = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 4 << 20
"""25,000 tensors; a header is parsed in 20 times its size, and a hostile one shall cost little."""
_MAX_DIMENSIONS = 8
_ENTRY = frozenset({"dtype", "shape", "data_offsets"})


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor as the file's header describes it."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors writes it: F16, BF16, F32."""
    start: int
    """Its first byte, counted from the end of the header."""
    n_values: int
    """How many numbers it holds."""
    end: int
    """The byte after its last."""


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Return name -> what the header says, without reading a tensor.

    Raises InvalidFolder where the file is truncated, its header lies, or a type is no float.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = _header_length(file.read(_LENGTH_BYTES), size_bytes)
            return _parse_header(file.read(length), size_bytes - _LENGTH_BYTES - length)
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path.parent, path.name, error) from error


def parse_tensors(data: bytes, folder: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return a safetensors file's tensors as views of its bytes; bfloat16 is widened to float32.

    Raises InvalidFolder where the bytes are no safetensors file or hold a type that is no float.
    """
    try:
        length = _header_length(data[:_LENGTH_BYTES], len(data))
        begin = _LENGTH_BYTES + length
        headers = _parse_header(data[_LENGTH_BYTES:begin], len(data) - begin)
    except (ValueError, RecursionError) as error:
        raise _unreadable(folder, name, error) from error
    return {tensor: _to_array(data, begin, header) for tensor, header in headers.items()}


def _header_length(beginning: bytes, size_bytes: int) -> int:
    length = int.from_bytes(beginning, "little")
    if len(beginning) < _LENGTH_BYTES or length > size_bytes - _LENGTH_BYTES:
        raise ValueError(f"its header would have {length:,} bytes, the file has {size_bytes:,}")
    if length > _MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length:,} bytes, expected at most {_MAX_HEADER_BYTES:,}")
    return length


def _parse_header(text: bytes, n_data_bytes: int) -> dict[str, TensorHeader]:
    """Parse a header's JSON. Raises ValueError with what does not hold of it."""
    if not text.startswith(b"{"):
        raise ValueError("its header is no JSON object")
    entries = json.loads(text.decode("utf-8"))
    _require_metadata(entries.pop("__metadata__", {}))
    headers = {name: _to_header(name, entry) for name, entry in entries.items()}
    position = 0
    for name, header in sorted(headers.items(), key=lambda item: item[1].start):
        if header.start != position:
            raise ValueError(f"tensor {name} begins at byte {header.start:,}, the one before ends at {position:,}")
        position = header.end
    if position != n_data_bytes:
        raise ValueError(f"its tensors have {position:,} bytes, the file has {n_data_bytes:,}")
    return headers


def _to_header(name: str, entry: object) -> TensorHeader:
    if not name.isprintable():
        raise ValueError(f"tensor name {name!r} has characters that cannot be printed")
    if not isinstance(entry, dict) or entry.keys() != _ENTRY:
        raise ValueError(f"tensor {name} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _NUMPY_TYPES:
        raise ValueError(f"tensor {name} has type {str(dtype)[:20]}, expected a float")
    if not _are_counts(shape, least=1) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"tensor {name} has shape {str(shape)[:80]}")
    if not _are_counts(offsets, least=0) or len(offsets) != 2:
        raise ValueError(f"tensor {name} has offsets {str(offsets)[:80]}")
    n_values = math.prod(shape)
    if offsets[0] + n_values * _NUMPY_TYPES[dtype].itemsize != offsets[1]:
        raise ValueError(f"tensor {name} of shape {shape} has {offsets[1] - offsets[0]:,} bytes")
    return TensorHeader(tuple(shape), dtype, offsets[0], n_values, offsets[1])


def _to_array(data: bytes, begin: int, header: TensorHeader) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = np.frombuffer(data, _NUMPY_TYPES[header.dtype], header.n_values,
                                                 begin + header.start)
    if header.dtype == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    return values.reshape(header.shape)


def _are_counts(value: object, *, least: int) -> bool:
    if not isinstance(value, list):
        return False
    for number in value:  # noqa: SIM110  # a generator takes three times as long, for each of thousands of tensors
        if type(number) is not int or number < least:
            return False
    return True


def _require_metadata(value: object) -> None:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("its metadata is not a table of texts")


def _unreadable(folder: Path, name: str, error: Exception) -> InvalidFolder:
    why = str(error).split("\n", 1)[0].rstrip(".")[:300]
    return InvalidFolder(str(folder), [f"{name} is truncated or no safetensors file ({why})"],
                         hint="Train or pull it again.")
