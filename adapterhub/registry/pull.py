"""Reading a version's bytes with every digest compared: for the runtime, into a folder, or only to verify."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.adapter.check import BaseShapes, check_folder
from adapterhub.adapter.folder import (
    FOLDER_FILES,
    AdapterFolder,
    parse_folder,
    require_bounded_files,
    require_safe_entries,
)
from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.errors import InvalidFolder
from adapterhub.files import folder_written_whole, require_free, sha256_of_bytes
from adapterhub.registry import layout
from adapterhub.registry.publish import size_bytes
from adapterhub.registry.records import ClaimRecord, VersionRecord, YankRecord, parse_record
from adapterhub.registry.resolve import Version
from adapterhub.registry.stores import Store
from adapterhub.registry.trust import require_trusted, who_signed

PROBE = "the probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was checked of one version; a fault would have been raised instead."""

    version: Version
    checks: tuple[str, ...]
    """What held, in words."""
    not_checked: tuple[str, ...]
    """What this call could not look at, in words."""
    n_tensors: int


def read(store: Store, version: Version, trusted: Sequence[str] = ()) -> AdapterFolder:
    """Read a version's four files once and compare every digest, and its signature where one is asked for.

    Raises InvalidFolder with what is missing or changed; PolicyRefused where nobody who is trusted has signed it.
    """
    if store.root is not None:
        require_bounded_files(_shown_path(store, version))
    found = {name: store.get(layout.file_key(version.path, version.version, name)) for name in FOLDER_FILES}
    files = {name: data for name, data in found.items() if data is not None}
    if MANIFEST_FILE in files and (digest := sha256_of_bytes(files[MANIFEST_FILE])) != version.digest:
        raise _changed(version, f"the digest of {MANIFEST_FILE} is {digest[:12]}, "
                                f"the version says {version.digest[:12]}")
    content = parse_folder(_shown_path(store, version), files)
    if size_bytes(content) != version.size_bytes:
        raise _changed(version, f"it has {size_bytes(content)} bytes, the version says {version.size_bytes}")
    require_trusted(store, version, files[MANIFEST_FILE], trusted)
    return content


def pull(store: Store, version: Version, folder: Path, trusted: Sequence[str] = ()) -> AdapterFolder:
    """Copy a version into a new folder, whole or not at all, and compare what lies there.

    Raises DataError where the folder holds something; InvalidFolder, PolicyRefused, StorageError.
    """
    require_free(folder)
    content = read(store, version, trusted)
    check_folder(content)
    with folder_written_whole(folder) as unfinished:
        for name, data in content.files.items():
            (unfinished / name).write_bytes(data)
        if any((unfinished / name).read_bytes() != data for name, data in content.files.items()):
            raise _changed(version, f"the copy in {folder} differs from it")
    return replace(content, path=folder)


def verify(store: Store, version: Version, base: BaseShapes | None = None,
           trusted: Sequence[str] = ()) -> Verification:
    """Check all that can be checked of a version without computing with it.

    Raises InvalidFolder with the faults; BaseMismatch where `base` is another one than the adapter's; PolicyRefused
    where its signature does not hold.
    """
    if store.root is not None:
        require_safe_entries(_shown_path(store, version))
    content = read(store, version, trusted)
    tensors = check_folder(content, base)
    _check_records(store, version)
    checks = ["version.json is as it was written", f"the manifest has digest {version.digest[:12]}",
              *(f"{name} has the digest that the manifest states" for name in content.manifest.files),
              "names, shapes, rank and values of the tensors agree with the configuration",
              "the head fits the labels"]
    against_base, not_checked = "the tensors fit the base's modules", [PROBE]
    if base:
        checks.append(against_base)
    else:
        not_checked.insert(0, against_base)
    if signer := who_signed(store, version, content.files[MANIFEST_FILE], trusted):
        shown = f"it is signed by {signer.name}" if signer.is_confirmed else f"the signature (it is {signer.name})"
        (checks if signer.is_confirmed else not_checked).append(shown)
    n_tensors = sum(len(arrays) for _, arrays in tensors.named()) + len(tensors.shared) + len(tensors.head)
    return Verification(version=version, checks=tuple(checks), not_checked=tuple(not_checked), n_tensors=n_tensors)


def _check_records(store: Store, version: Version) -> None:
    """Read the small records beside a version; each says by its checksum whether it is as it was written."""
    for name, kind in ((layout.VERSION_FILE, VersionRecord), (layout.CLAIM_FILE, ClaimRecord),
                       (layout.YANKED_FILE, YankRecord)):
        key = layout.file_key(version.path, version.version, name)
        if (data := store.get(key)) is not None:
            parse_record(kind, data, key)


def _shown_path(store: Store, version: Version) -> Path:
    """A local version is its folder; one in a bucket is shown by its reference."""
    key = layout.version_key(version.path, version.version)
    return store.root / key if store.root else Path(version.reference)


def _changed(version: Version, fault: str) -> InvalidFolder:
    return InvalidFolder(version.reference, [fault],
                         hint="Its bytes changed after it was published: restore them from a backup, "
                              "or publish it again.")
