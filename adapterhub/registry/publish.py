"""Publishing: an adapter folder becomes one immutable version, wholly or not at all, with any number of publishers."""

import uuid
from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.folder import FOLDER_FILES, AdapterFolder, read_folder
from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.errors import InvalidConfig, PolicyRefused, StorageError, VersionExists
from adapterhub.registry import layout
from adapterhub.registry.aliases import Mark
from adapterhub.registry.policy import read_policy, require_quota
from adapterhub.registry.records import ClaimRecord, PolicyRecord, VersionRecord, to_bytes
from adapterhub.registry.resolve import Version, latest, numbers, read_version
from adapterhub.registry.signing import SigningKey, sign
from adapterhub.registry.stores import Store
from adapterhub.registry.trust import add_signature, require_signed_publish


def publish(store: Store, path: str, folder: Path, mark: Mark, *, version: int | None = None,
            signing_key: SigningKey | None = None) -> Version:
    """Check a folder and publish it under the next number, or exactly `version`.

    Content equal to the latest version's makes no new one: that version is returned, `is_new` False, and signed
    where a key is given and it was not. Whatever ends it early leaves nothing visible; its number stays unused.
    Raises VersionExists where `version` is taken; InvalidFolder, PolicyRefused, StorageError.
    """
    if version is not None and version < 1:
        raise InvalidConfig(f"version is {version}, expected 1 or more.")
    content = read_folder(folder)
    check_folder(content)
    signature = sign(content.files[MANIFEST_FILE], signing_key) if signing_key else None
    if version is None and (newest := latest(store, path)) and newest.digest == content.digest:
        if signature:
            require_signed_publish(store, content.files[MANIFEST_FILE], signature, path)
            add_signature(store, path, newest.version, signature)
        return newest
    require_signed_publish(store, content.files[MANIFEST_FILE], signature, path)
    policy = read_policy(store)
    require_quota(store, policy, path, size_bytes(content))
    claim = ClaimRecord(id=uuid.uuid4().hex, at=mark.at, size_bytes=size_bytes(content))
    number = _claim(store, path, claim, version)
    require_claim_within_quota(store, policy, path, number)  # the claim is this call's own: its id is drawn
    return fill(store, path, number, claim, content, mark, signature)


def require_claim_within_quota(store: Store, policy: PolicyRecord, path: str, number: int) -> None:
    """Give a claimed number back where what others claimed meanwhile left no room. Raises PolicyRefused."""
    try:
        require_quota(store, policy, path, 0)
    except PolicyRefused:
        store.delete(layout.file_key(path, number, layout.CLAIM_FILE))
        raise


def fill(store: Store, path: str, number: int, claim: ClaimRecord, content: AdapterFolder, mark: Mark,
         signature: bytes | None = None) -> Version:
    """Write a claimed version's files, its signature and, last, what makes it visible.

    Raises StorageError where somebody else's bytes are there, or where the claim was swept meanwhile.
    """
    taken = store.create_files(layout.version_key(path, number), {name: content.files[name] for name in FOLDER_FILES})
    if taken:
        raise _not_ours(store, taken)
    if signature:
        add_signature(store, path, number, signature)
    if store.get(layout.file_key(path, number, layout.CLAIM_FILE)) != to_bytes(claim):
        raise StorageError(f"{path}@{number} was swept from {store.place} while it was being published.",
                           hint="Publish again, and sweep only what is older than the longest upload.")
    record = VersionRecord(version=number, digest=content.digest, size_bytes=size_bytes(content),
                           published_at=mark.at, claim=claim.id, by=mark.by)
    key = layout.file_key(path, number, layout.VERSION_FILE)
    if not is_created(store, key, to_bytes(record)):
        raise _not_ours(store, key)
    published = read_version(store, path, number)
    assert published is not None, "version.json was created a moment ago"
    return replace(published, is_new=True)


def size_bytes(content: AdapterFolder) -> int:
    """Return the bytes of an adapter's four files together."""
    return sum(map(len, content.files.values()))


def is_created(store: Store, key: str, data: bytes) -> bool:
    """Create, or find our own bytes there: a client that repeats a put after a lost answer meets itself."""
    return store.create(key, data) or store.get(key) == data


def _claim(store: Store, path: str, claim: ClaimRecord, version: int | None) -> int:
    """Take a number: who finds it taken goes on to the next."""
    number = version or max(numbers(store, path), default=0) + 1
    while not is_created(store, layout.file_key(path, number, layout.CLAIM_FILE), to_bytes(claim)):
        if version is not None:
            free = max(numbers(store, path), default=0) + 1
            raise VersionExists(f"{path}@{version} is taken; versions are never replaced.",
                                hint=f"Publish it as version {free}, or without a number.")
        number += 1
    return number


def _not_ours(store: Store, key: str) -> StorageError:
    return StorageError(f"{key} in {store.place} was written by somebody else than its claim's owner.",
                        hint="Publish again; the next version is not touched by it.")
