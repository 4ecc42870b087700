"""One adapter folder read from disk: every byte once, its digests compared, nothing run.

It knows the files, not whether they fit a base (check.py).
"""

from dataclasses import dataclass
from pathlib import Path

from adapterhub.adapter.manifest import MANIFEST_FILE, Manifest, parse_manifest
from adapterhub.adapter.peft_config import CONFIG_FILE, WEIGHTS_FILE, PeftConfig, parse_peft_config
from adapterhub.errors import DataError, InvalidFolder
from adapterhub.files import sha256_of_bytes, storage_errors

CARD_FILE = "README.md"
CONTENT_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
FOLDER_FILES = (*CONTENT_FILES, MANIFEST_FILE)
REGISTRY_FILES = ("claim.json", "version.json", "yanked.json")
"""What a registry keeps beside the four files of a version."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_MAX_TEXT_BYTES = 64 << 20
"""No manifest, config or card is larger; what is was not written by adapterhub or PEFT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFolder:
    """The four files of an adapter, parsed; `files` holds the bytes that the digests were taken of."""

    path: Path
    digest: str
    """SHA-256 of the manifest, which holds the other files' SHA-256."""
    manifest: Manifest
    config: PeftConfig
    files: dict[str, bytes]


def read_folder(path: Path) -> AdapterFolder:
    """Read a folder and compare every digest.

    Raises DataError where it is absent; InvalidFolder for a missing, unexpected, changed or unsafe file.
    """
    if not path.is_dir():
        raise DataError(f"No such adapter folder: {path}.", hint="Give the folder that `adapterhub train` wrote.")
    with storage_errors(path):
        _require_safe_entries(path)
        files = {name: (path / name).read_bytes() for name in FOLDER_FILES}
    return parse_folder(path, files)


def parse_folder(path: Path, files: dict[str, bytes]) -> AdapterFolder:
    """Parse the four files' bytes, wherever they came from. Raises InvalidFolder as `read_folder`."""
    if missing := [name for name in FOLDER_FILES if name not in files]:
        raise InvalidFolder(str(path), [f"{name} is missing" for name in missing])
    if len(files[MANIFEST_FILE]) > _MAX_TEXT_BYTES:
        raise InvalidFolder(str(path), [f"{MANIFEST_FILE} has {len(files[MANIFEST_FILE])} bytes"])
    manifest = parse_manifest(files[MANIFEST_FILE], str(path))
    if faults := _digest_faults(manifest, files):
        raise InvalidFolder(str(path), faults, hint="Its bytes changed after it was made: pull or train it again.")
    return AdapterFolder(path=path, digest=sha256_of_bytes(files[MANIFEST_FILE]), manifest=manifest,
                         config=parse_peft_config(files[CONFIG_FILE], path), files=files)


def _require_safe_entries(path: Path) -> None:
    faults = []
    for entry in sorted(path.iterdir()):
        if entry.is_symlink():
            faults.append(f"{entry.name} is a symbolic link")
        elif entry.suffix.lower() in _PICKLES:
            faults.append(f"{entry.name} may be a pickle, which can run code; only safetensors is accepted")
        elif entry.name not in FOLDER_FILES and entry.name not in REGISTRY_FILES:
            faults.append(f"{entry.name} is unexpected, an adapter folder holds only {', '.join(FOLDER_FILES)}")
        elif not entry.is_file():
            faults.append(f"{entry.name} is not a plain file")
    faults += [f"{name} is missing" for name in FOLDER_FILES if not (path / name).is_file()]
    if faults:
        raise InvalidFolder(str(path), faults, hint="`adapterhub train` writes a folder that is accepted.")


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
