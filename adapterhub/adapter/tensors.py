"""Tensor files: what a safetensors header says, and its tensors as NumPy arrays. It knows no names in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from adapterhub.errors import InvalidFolder

_NUMPY_TYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
TORCH_NAMES = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor as the file's header describes it."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors writes it: F16, BF16, F32."""


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Return name -> shape and dtype without reading a tensor.

    Raises InvalidFolder where the file is truncated or its header lies about lengths.
    """
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            return {name: TensorHeader(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path.parent, path.name, error) from error


def parse_tensors(data: bytes, folder: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return a safetensors file's tensors from its bytes; bfloat16 is widened to float32.

    Raises InvalidFolder where the bytes are no safetensors file or hold a type that is no float.
    """
    try:
        entries = deserialize(data)
    except SafetensorError as error:
        raise _unreadable(folder, name, error) from error
    return {tensor: _to_array(entry, folder, tensor) for tensor, entry in entries}


def _to_array(entry: dict[str, Any], folder: Path, tensor: str) -> np.ndarray[Any, Any]:
    if entry["dtype"] == "BF16":
        wide = np.frombuffer(entry["data"], dtype="<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(entry["shape"])
    if entry["dtype"] not in _NUMPY_TYPES:
        raise InvalidFolder(str(folder), [f"tensor {tensor} has type {entry['dtype']}, expected a float"])
    values: np.ndarray[Any, Any] = np.frombuffer(entry["data"], dtype=_NUMPY_TYPES[entry["dtype"]])
    return values.reshape(entry["shape"])


def _unreadable(folder: Path, name: str, error: Exception) -> InvalidFolder:
    return InvalidFolder(str(folder), [f"{name} is truncated or no safetensors file ({str(error).rstrip('.')})"],
                         hint="Train or pull it again.")
