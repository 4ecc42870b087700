"""Tensors are read from bytes as NumPy arrays, bfloat16 widened without loss."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from adapter_folders import adapter_tensors, write_adapter_folder
from safetensors.numpy import save

from adapterhub.adapter.peft_config import WEIGHTS_FILE
from adapterhub.adapter.tensors import TensorHeader, parse_tensors, read_headers
from adapterhub.errors import InvalidFolder

FOLDER = Path("a")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_tensors_are_read_as_they_were_written(dtype: str) -> None:
    tensors = {name: array.astype(dtype) for name, array in adapter_tensors().items()}
    found = parse_tensors(save(tensors), FOLDER, WEIGHTS_FILE)
    assert {name: array.dtype for name, array in found.items()} == {name: np.dtype(dtype) for name in tensors}
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def test_bfloat16_is_widened_to_the_same_values() -> None:
    values = np.array([[1.5, -2.0], [0.0, 2.0**40]], "<f4")
    data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, len(data)]}}).encode()
    found = parse_tensors(struct.pack("<Q", len(header)) + header + data, FOLDER, WEIGHTS_FILE)
    assert np.array_equal(found["x"], values)


@pytest.mark.parametrize("entry", [
    {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [4], "data_offsets": [0, 10**12]},
    {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]},
    {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]},
    {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
])
def test_header_that_lies_is_refused(entry: dict[str, object]) -> None:
    header = json.dumps({"x": entry}).encode()
    with pytest.raises(InvalidFolder, match="no safetensors file"):
        parse_tensors(struct.pack("<Q", len(header)) + header + b"\0" * 16, FOLDER, WEIGHTS_FILE)


def test_headers_are_read_without_the_tensors(tmp_path: Path) -> None:
    headers = read_headers(write_adapter_folder(tmp_path / "a") / WEIGHTS_FILE)
    assert headers["base_model.model.classifier.weight"] == TensorHeader((3, 8), "F32", 12 + 256, 24, 12 + 256 + 96)


def test_headers_of_a_truncated_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(save(adapter_tensors())[:40])
    with pytest.raises(InvalidFolder):
        read_headers(path)
