"""One adapter folder read from disk: every byte once, its digests compared, nothing run.

It knows the files, not whether they fit a base (check.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapterhub.adapter.manifest import MANIFEST_FILE, Manifest, parse_manifest
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE, PeftConfig, parse_peft_config
from adapterhub.adapter.plain_text import require_harmless
from adapterhub.adapter.tensors import read_headers
from adapterhub.errors import DataError, InvalidFolder
from adapterhub.files import sha256_of_bytes, storage_errors

CARD_FILE = "README.md"
CONTENT_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
FOLDER_FILES = (*CONTENT_FILES, MANIFEST_FILE)
REGISTRY_FILES = ("claim.json", "version.json", "yanked.json", "signature.json")
"""What a registry keeps beside the four files of a version."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_MAX_BYTES = {MANIFEST_FILE: 2 << 20, CONFIG_FILE: 1 << 20, CARD_FILE: 1 << 20}
"""Ten times the largest that adapterhub and PEFT write; a file of lies shall not cost more to refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedFiles:
    """The four files of an adapter of any PEFT method; `files` holds the bytes that the digests were taken of."""

    path: Path
    digest: str
    """SHA-256 of the manifest, which holds the other files' SHA-256."""
    manifest: Manifest
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFolder(VerifiedFiles):
    """The files of an adapter of a method that is known, its configuration parsed; not every one is served."""

    config: PeftConfig


_SOON_READ_BYTES = 32 << 20
"""A file up to this size is read before its header is looked at: that costs less than opening it twice."""


def read_folder(path: Path) -> AdapterFolder:
    """Read a folder and compare every digest.

    Raises DataError where it is absent; InvalidFolder for a missing, unexpected, changed or unsafe file, or for a
    method that is not known.
    """
    return _with_config(read_files(path))


def read_files(path: Path) -> VerifiedFiles:
    """Read a folder of any PEFT method and compare every digest. Raises as `read_folder`, but for no method."""
    if not path.is_dir():
        raise DataError(f"No such adapter folder: {path}.", hint="Give the folder that `adapterhub train` wrote.")
    with storage_errors(path):
        require_safe_entries(path)
        require_bounded_files(path)
        files = {name: (path / name).read_bytes() for name in FOLDER_FILES}
    return _verified(path, files)


def parse_folder(path: Path, files: dict[str, bytes]) -> AdapterFolder:
    """Parse the four files' bytes, wherever they came from. Raises InvalidFolder as `read_folder`."""
    return _with_config(_verified(path, files))


def _with_config(found: VerifiedFiles) -> AdapterFolder:
    return AdapterFolder(path=found.path, digest=found.digest, manifest=found.manifest, files=found.files,
                         config=parse_peft_config(found.files[CONFIG_FILE], found.path))


def _verified(path: Path, files: dict[str, bytes]) -> VerifiedFiles:
    if missing := [name for name in FOLDER_FILES if name not in files]:
        raise InvalidFolder(str(path), [f"{name} is missing" for name in missing])
    _require_sizes(path, {name: len(files[name]) for name in _MAX_BYTES})
    manifest = parse_manifest(files[MANIFEST_FILE], str(path))
    if faults := _digest_faults(manifest, files):
        raise InvalidFolder(str(path), faults, hint="Its bytes changed after it was made: pull or train it again.")
    require_harmless(files[CARD_FILE], path, CARD_FILE)
    return VerifiedFiles(path=path, digest=sha256_of_bytes(files[MANIFEST_FILE]), manifest=manifest, files=files)


def require_safe_entries(path: Path) -> None:
    """Refuse links, pickles, and whatever else is not of an adapter. Raises InvalidFolder with all of them."""
    faults = []
    for entry in sorted(path.iterdir()):
        shown = entry.name if entry.name.isprintable() else repr(entry.name)
        if entry.is_symlink():
            faults.append(f"{shown} is a symbolic link")
        elif entry.suffix.lower() in _PICKLES:
            faults.append(f"{shown} may be a pickle, which can run code; only safetensors is accepted")
        elif entry.name not in FOLDER_FILES and entry.name not in REGISTRY_FILES:
            faults.append(f"{shown} is unexpected, an adapter folder holds only {', '.join(FOLDER_FILES)}")
        elif not entry.is_file():
            faults.append(f"{shown} is not a plain file")
    faults += [f"{name} is missing" for name in FOLDER_FILES if not (path / name).is_file()]
    if faults:
        raise InvalidFolder(str(path), faults, hint="`adapterhub train` writes a folder that is accepted.")


def require_bounded_files(path: Path) -> None:
    """Refuse texts too large and a tensor header that lies, before what is behind them is read; absent files pass.

    Raises InvalidFolder.
    """
    _require_sizes(path, {name: (path / name).stat().st_size for name in _MAX_BYTES if (path / name).is_file()})
    weights = path / WEIGHTS_FILE
    if weights.is_file() and weights.stat().st_size > _SOON_READ_BYTES:
        read_headers(weights)


def _require_sizes(path: Path, sizes: Mapping[str, int]) -> None:
    faults = [f"{name} has {sizes[name]:,} bytes, expected at most {most:,}" for name, most in _MAX_BYTES.items()
              if sizes.get(name, 0) > most]
    if faults:
        raise InvalidFolder(str(path), faults, hint="Neither adapterhub nor PEFT writes such a file.")


def _digest_faults(manifest: Manifest, files: dict[str, bytes]) -> list[str]:
    faults = [f"{MANIFEST_FILE} lists {name!r}, which leaves the folder" for name in manifest.files
              if name not in CONTENT_FILES]
    for name in CONTENT_FILES:
        facts = manifest.files.get(name)
        if facts is None:
            faults.append(f"{MANIFEST_FILE} has no digest of {name}")
        elif facts.size_bytes != len(files[name]):
            faults.append(f"{name} has {len(files[name])} bytes, the manifest says {facts.size_bytes}")
        elif facts.sha256 != (found := sha256_of_bytes(files[name])):
            faults.append(f"the digest of {name} is {found[:12]}, the manifest says {facts.sha256[:12]}")
    return faults
