"""Whatever bytes stand in a folder's files, they are read rightly or refused by one of our sentences."""

import html
import json
import math
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapter_folders import MODULES, Corruption, Tensors, adapter_tensors, peft_config, write_adapter_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import parse_folder, read_folder
from adapterhub.adapter.manifest import MANIFEST_FILE, parse_manifest
from adapterhub.adapter.peft_config import WEIGHTS_FILE, parse_peft_config
from adapterhub.adapter.plain_text import made_harmless, require_harmless
from adapterhub.adapter.tensors import parse_tensors, read_headers
from adapterhub.errors import AdapterHubError, InvalidFolder

FOLDER = Path("a")
EDGES = st.sampled_from([0, -1, 1, 2, 8, 64, 2**31, 2**63, 2**64 + 1, 10**400, 1e308, float("nan"), float("inf"), "",
                         "x", "\ud800", "\x1b[2J", True, None, "../x", "(a+)+$", "F32", "BF16", "I8"])
JSON = st.recursive(EDGES | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.text(max_size=5), inner, max_size=3), max_leaves=6)
FEW = settings(max_examples=150, deadline=None, derandomize=True)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, part in inside for place in places(part, (*at, key)))]


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], new)
    return copy


@st.composite
def edited(draw: st.DrawFn, value: Any) -> bytes:
    """JSON with one to three of its values replaced by anything."""
    for _ in range(draw(st.integers(1, 3))):
        value = replaced(value, draw(st.sampled_from(places(value))), draw(JSON))
    return json.dumps(value).encode()


def header_of(data: bytes) -> Any:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + length])


SMALL: Tensors = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones((1, 2), "f2"), "c": np.zeros(4, "f8")}


@FEW
@given(header=edited(header_of(save(SMALL))) | st.binary(max_size=40), lie=st.sampled_from([0, 0, 0, 1, -1, 2**31]))
def test_header_is_understood_as_safetensors_does_or_refused(header: bytes, lie: int) -> None:
    whole = save(SMALL)
    data = struct.pack("<Q", max(0, len(header) + lie)) + header + whole[8 + struct.unpack("<Q", whole[:8])[0]:]
    try:
        found = parse_tensors(data, FOLDER, WEIGHTS_FILE)
    except AdapterHubError as error:
        assert "\n" not in str(error)
        return
    expected = load(data)
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        name: (array.dtype, array.shape) for name, array in expected.items()}
    assert all(np.array_equal(found[name], expected[name], equal_nan=True) for name in found)


@FEW
@given(data=st.data())
def test_file_of_flipped_or_cut_bytes_is_read_as_safetensors_does_or_refused(data: st.DataObject) -> None:
    changed = bytearray(save(SMALL))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[:data.draw(st.integers(0, len(changed)))])
    try:
        found = parse_tensors(cut, FOLDER, WEIGHTS_FILE)
    except AdapterHubError:
        return
    assert list(found) == list(load(cut))


def test_what_safetensors_refuses_is_refused() -> None:
    whole = save(SMALL)
    length = struct.unpack("<Q", whole[:8])[0]
    overlapping = json.dumps(header_of(whole) | {"a": header_of(whole)["c"]}).encode()
    for data in (struct.pack("<Q", len(overlapping)) + overlapping + whole[8 + length:],
                 struct.pack("<Q", 2**31) + whole[8:], whole + b"\0", whole[:-1], b""):
        with pytest.raises(SafetensorError):
            load(data)
        with pytest.raises(AdapterHubError, match="no safetensors file"):
            parse_tensors(data, FOLDER, WEIGHTS_FILE)
    twice = (b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
             b'"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}')
    with pytest.raises(AdapterHubError, match="the one before ends at 0"):
        parse_tensors(struct.pack("<Q", len(twice)) + twice + bytes(32), FOLDER, WEIGHTS_FILE)


@FEW
@given(data=edited(peft_config()) | st.binary(max_size=30))
def test_config_is_usable_or_refused(data: bytes) -> None:
    try:
        config = parse_peft_config(data, FOLDER)
        assert isinstance(config.has_target(MODULES[0]), bool)
        if not config.is_ia3:
            assert math.isfinite(config.scaling_of(MODULES[0]))
    except AdapterHubError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return read_folder(write_adapter_folder(tmp_path_factory.mktemp("fuzz") / "a")).files


@FEW
@given(data=st.data())
def test_manifest_is_usable_or_refused(data: st.DataObject, content: dict[str, bytes]) -> None:
    changed = data.draw(edited(json.loads(content[MANIFEST_FILE])) | st.binary(max_size=30))
    try:
        manifest = parse_manifest(changed, "a")
        assert parse_manifest(manifest.to_bytes(), "a").labels == manifest.labels
        check_folder(parse_folder(FOLDER, content | {MANIFEST_FILE: changed}))
    except AdapterHubError as error:
        assert error.message


@FEW
@given(data=st.data())
def test_folder_of_any_config_and_tensors_is_usable_or_refused(data: st.DataObject,
                                                               tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("any") / "a"
    name = data.draw(st.sampled_from([*adapter_tensors()]))
    config = data.draw(edited(peft_config()).filter(lambda text: text[:1] == b"{" and b"\\ud800" not in text))
    shape = data.draw(st.lists(st.integers(1, 4), max_size=3))
    fault = Corruption(tensors=lambda tensors: tensors | {name: np.ones(shape, "f4")},
                       config=json.loads(config))
    try:
        folder = read_folder(write_adapter_folder(place, corruption=fault))
        tensors = check_folder(folder)
        assert all(math.isfinite(folder.config.scaling_of(module)) for module in tensors.delta_a)
    except AdapterHubError as error:
        assert "\n" not in str(error)


PIECES = ["&#58;", "&#106;avascript", "&amp;", "<script>", "< /SCRIPT", "<img", " onerror", "=", "x", "](",
          "javascript:", "<iframe", "\x1b", "<", ":", " ", "\r", "\n"]


@FEW
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_text_made_harmless_passes(text: str) -> None:
    safe = made_harmless(text)
    require_harmless(safe.encode(errors="replace"), FOLDER, "README.md")
    assert made_harmless(safe) == safe


@pytest.mark.parametrize("text", ["# Bank\n\n`a < b`, <https://x.org>, javascript: 10 %, on=1\r\n", "<base>", ""])
def test_plain_card_passes_unchanged(text: str) -> None:
    require_harmless(text.encode(), FOLDER, "README.md")


def test_reading_headers_agrees_with_reading_tensors(tmp_path: Path) -> None:
    path = write_adapter_folder(tmp_path / "a") / WEIGHTS_FILE
    arrays = parse_tensors(path.read_bytes(), FOLDER, WEIGHTS_FILE)
    assert {name: header.shape for name, header in read_headers(path).items()} == {
        name: array.shape for name, array in arrays.items()}


@pytest.mark.parametrize("text", ["<" + " " * 1_000_000, "< /" * 300_000, "<a " + " on" * 300_000, "](" * 500_000,
                                  "<a onload" + " " * 900_000], ids=["spaces", "slashes", "handlers", "links", "tail"])
def test_card_of_a_megabyte_is_looked_through_within_a_second(text: str) -> None:
    started = time.process_time()
    require_harmless(text.encode(), FOLDER, "README.md")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("link", ["[x](javascript&#58;alert(1))", "[x](&#x6a;avascript:alert(1))",
                                  "[x](javascript&colon;alert(1))"])
def test_link_that_runs_code_is_refused_spelt_with_entities_too(link: str) -> None:
    with pytest.raises(InvalidFolder, match="spelt with entities"):
        require_harmless(link.encode(), FOLDER, "README.md")
    require_harmless(made_harmless(link).encode(), FOLDER, "README.md")


def test_harmless_form_of_a_link_that_runs_code_does_not_act() -> None:
    assert "javascript:" not in html.unescape(made_harmless("[x](javascript:alert(1))"))
