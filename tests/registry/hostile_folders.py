"""Folders that somebody made to harm: what each is, and by which words it must be refused.

As a script it offers each to one door (publish, verify, load) in a child of its own with 200 MB to spend, and prints
what came of it: name -> class of the error, its sentence, seconds, megabytes. The seconds are the
processor's, which other programs may hold meanwhile.
"""

import json
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from adapter_folders import Corruption, edit_manifest, listed_anew, write_adapter_folder
from safetensors.numpy import save

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import CARD_FILE, FOLDER_FILES
from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.adapter.peft_config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from adapterhub.errors import AdapterHubError
from adapterhub.files import sha256_of_bytes
from adapterhub.registry import Registry, layout
from adapterhub.registry.records import VersionRecord, to_bytes

LIMIT_BYTES, LIMIT_S = 200_000_000, 1.0
DEEP = 1000
QUERY = f"{PREFIX}bert.encoder.layer.0.attention.self.query"
Spoil = Callable[[Path], None]


def file(name: str, data: bytes = b"x") -> Spoil:
    """Put a file beside the four, or in place of one of them and listed by the manifest as it is."""
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(data)
        if name in (CONFIG_FILE, CARD_FILE, WEIGHTS_FILE):
            listed_anew(folder)
    return spoil


def sparse(name: str, size_bytes: int, beginning: bytes = b"") -> Spoil:
    """A file of a huge size that takes no room on the disk."""
    def spoil(folder: Path) -> None:
        with (folder / name).open("wb") as handle:
            handle.write(beginning)
            handle.truncate(size_bytes)
    return spoil


def header(entries: dict[str, object], n_bytes: int = 0) -> Spoil:
    """A weights file of this header."""
    text = json.dumps(entries).encode()
    return file(WEIGHTS_FILE, struct.pack("<Q", len(text)) + text + bytes(n_bytes))


def config(**fields: object) -> Spoil:
    """The usual configuration with other fields."""
    def spoil(folder: Path) -> None:
        value = json.loads((folder / CONFIG_FILE).read_text())
        file(CONFIG_FILE, json.dumps({**value, **fields}).encode())(folder)
    return spoil


def linked(name: str) -> Spoil:
    """A link out of the folder in place of a file."""
    def spoil(folder: Path) -> None:
        (folder / name).rename(folder.parent / f"{folder.name}-outside")
        (folder / name).symlink_to(folder.parent / f"{folder.name}-outside")
    return spoil


def piped(folder: Path) -> None:
    """A pipe that nobody will ever write to."""
    (folder / CARD_FILE).unlink()
    os.mkfifo(folder / CARD_FILE)


def not_a_number(folder: Path) -> None:
    """A head of NaN."""
    tensors = {f"{QUERY}.lora_A.weight": np.full((2, 8), np.nan, "f4")}
    file(WEIGHTS_FILE, save(tensors))(folder)


def manifest(**changes: object) -> Spoil:
    """The manifest with other fields."""
    return lambda folder: edit_manifest(folder, **changes)


def raw_manifest(data: bytes) -> Spoil:
    """Any bytes as the manifest."""
    return lambda folder: (folder / MANIFEST_FILE).write_bytes(data) and None


def f32(shape: list[int], start: int, end: int) -> dict[str, object]:
    """A header's entry."""
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


BESIDE: dict[str, tuple[Spoil, str]] = {
    "pickle": (file("adapter_model.bin", b"\x80\x04."), "may be a pickle"),
    "pickle in capitals": (file("training_args.PT"), "may be a pickle"),
    "code": (file("modeling.py", b"import os"), "modeling.py is unexpected"),
    "case twin": (file("readme.md"), "readme.md is unexpected"),
    "look-alike": (file("\u0430dapter_config.json"), "is unexpected"),
    "control characters": (file("a\x1b[2J\nb"), "is unexpected"),
    "two dots": (file("..README.md"), "is unexpected"),
    "longest name": (file("x" * 255), "is unexpected"),
    "hidden folder": (lambda folder: (folder / ".git").mkdir(), ".git is unexpected"),
    "link to a file": (linked(CARD_FILE), "symbolic link"),
    "link to a folder": (lambda folder: (folder / "sub").symlink_to("/"), "symbolic link"),
    "link to itself": (lambda folder: (folder / "loop").symlink_to("loop"), "symbolic link"),
}
"""What lies beside the four files; loading never looks at it."""
INSIDE: dict[str, tuple[Spoil, str]] = {
    "pipe": (piped, "not a plain file"),
    "NaN": (not_a_number, "holds NaN or infinity"),
    "header of 2 GB that are not there": (file(WEIGHTS_FILE, struct.pack("<Q", 2**31)), "its header would have"),
    "header of 2 GB that are there": (sparse(WEIGHTS_FILE, 2**31 + 100, struct.pack("<Q", 2**31)), "its header has"),
    "header of 2^64": (file(WEIGHTS_FILE, b"\xff" * 8 + b"{}"), "its header would have"),
    "overlapping tensors": (header({"a": f32([4], 0, 16), "b": f32([4], 8, 24)}, 24), "the one before ends at 16"),
    "gap between tensors": (header({"a": f32([1], 0, 4), "b": f32([1], 8, 12)}, 12), "the one before ends at 4"),
    "tensor beyond the end": (header({"a": f32([2**40], 0, 2**42)}, 16), "its tensors have"),
    "shape of another length": (header({"a": f32([3], 0, 16)}, 16), "of shape [3] has 16 bytes"),
    "shape that overflows": (header({"a": f32([2**32, 2**32], 0, 0)}, 0), "has 0 bytes"),
    "negative shape": (header({"a": f32([-4], 0, 16)}, 16), "has shape [-4]"),
    "million dimensions": (header({"a": f32([1] * 10**6, 0, 4)}, 4), "has shape"),
    "fifty thousand tensors": (header({f"x{n}": f32([1], 4 * n, 4 * n + 4) for n in range(50_000)}, 200_000),
                                 "does not start with"),
    "control characters in a name": (header({"\x1b[2J": f32([1], 0, 4)}, 4), "cannot be printed"),
    "deep header": (file(WEIGHTS_FILE, struct.pack("<Q", 2 * DEEP) + b'{"a":' + b"[" * (2 * DEEP - 5)),
                    "no safetensors file"),
    "deep manifest": (raw_manifest(b"[" * DEEP + b"]" * DEEP), "not readable JSON"),
    "deep configuration": (file(CONFIG_FILE, b'{"x":' * DEEP + b"1" + b"}" * DEEP), CONFIG_FILE),
    "very deep configuration": (file(CONFIG_FILE, b"[" * 500_000 + b"]" * 500_000), CONFIG_FILE),
    "file above": (manifest(files={"../x": {"sha256": "0" * 64, "size_bytes": 1}}), "leaves the folder"),
    "file at the root": (manifest(files={"/etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}), "leaves the folder"),
    "file without a name": (manifest(files={"": {"sha256": "0" * 64, "size_bytes": 1}}), "leaves the folder"),
    "million labels of a wrong kind": (raw_manifest(b'{"labels":[' + b"1," * 900_000 + b"1]}"),
                                       "labels.0: input should be a valid string"),
    "hundred thousand wrong counts": (raw_manifest(b'{"n_rows":{' + b",".join(
        b'"%d":[]' % n for n in range(100_000)) + b"}}"), MANIFEST_FILE),
    "manifest of 10 GB": (sparse(MANIFEST_FILE, 10**10), "expected at most"),
    "configuration of 10 GB": (sparse(CONFIG_FILE, 10**10), "expected at most"),
    "card of 10 GB": (sparse(CARD_FILE, 10**10), "expected at most"),
    "card with a script": (file(CARD_FILE, b"# x\n\n<ScRiPt src=//x>"), "README.md has a tag that runs or embeds code"),
    "card with a handler": (file(CARD_FILE, b"<img src=x\nonerror=alert(1)>"), "a tag's event handler in line 1"),
    "card with a script's address": (file(CARD_FILE, b"[x](javascript:alert(1))"), "a link that runs code"),
    "card that clears the terminal": (file(CARD_FILE, b"# x\x1b[2J"), "a control character"),
    "card of no text": (file(CARD_FILE, b"\xff\xfe\x00"), "is not UTF-8"),
    "pattern that takes years": (config(target_modules=r"(.|..)*\d"), "takes too long"),
    "rank zero by pattern": (config(rank_pattern={".*": 0}), "expected at least 1"),
    "rank of 400 digits": (config(r=10**400), "refused"),
}


def plant(registry: Registry, folder: Path) -> None:
    """Make a folder version 1 of a/b as somebody with a hand in the registry could, past every check."""
    target = Path(registry.where) / layout.version_key("a/b", 1)
    target.parent.mkdir(parents=True)
    folder.rename(target)
    data = (target / MANIFEST_FILE).read_bytes() if (target / MANIFEST_FILE).stat().st_size < 10**8 else b""
    size = sum((target / name).stat().st_size for name in FOLDER_FILES)
    (target / layout.VERSION_FILE).write_bytes(to_bytes(VersionRecord(
        version=1, digest=sha256_of_bytes(data), size_bytes=size, published_at="now", claim="c")))


def offered(door: str, registry: Registry, folder: Path) -> None:
    """Offer a folder to one door."""
    if door == "publish":
        registry.publish(folder, "a/b")
    elif door == "verify":
        registry.verify("a/b")
    else:
        check_folder(registry.read("a/b"))  # what the runtime does before an adapter gets a slot


def outcome(door: str, registry: Registry, folder: Path) -> list[object]:
    """Run one offer under the limits; what happened, in a list."""
    resource.setrlimit(resource.RLIMIT_DATA, (_pages("VmData") + LIMIT_BYTES,) * 2)
    before, started = _pages("VmRSS"), time.process_time()
    try:
        offered(door, registry, folder)
        told, kind = "accepted", ""
    except AdapterHubError as error:
        told, kind = str(error), "AdapterHubError"
    except BaseException as error:  # whatever else comes is the fault that is looked for
        told, kind = str(error), type(error).__name__
    return [kind, told, time.process_time() - started, (_pages("VmHWM") - before) / 1e6]


def main(door: str, place: Path) -> None:
    """Offer every folder, each in a child, and print the outcomes."""
    outcomes: dict[str, object] = {}
    cases = {**INSIDE, **(BESIDE if door != "load" else {})}
    Registry(place / "warm").publish(write_adapter_folder(place / "good"), "a/b")  # what is loaded once is loaded
    for number, (name, (spoil, _)) in enumerate(cases.items()):
        folder = write_adapter_folder(place / str(number), corruption=Corruption())
        spoil(folder)
        registry = Registry(place / f"registry{number}")
        if door != "publish":
            plant(registry, folder)
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, json.dumps(outcome(door, registry, folder)).encode()[:60_000])
            os._exit(0)
        os.close(writer)
        os.wait()
        with os.fdopen(reader, "rb") as answers:
            outcomes[name] = json.loads(answers.read() or b'["killed", "", 0, 0]')
        if door == "publish" and Path(registry.where).exists():
            outcomes[name] = ["left something behind", "", 0, 0]
    print(json.dumps(outcomes))


def _pages(field: str) -> int:
    """A figure of /proc/self/status in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
