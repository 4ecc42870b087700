"""Copying adapters from one registry to another: verified, and resumable because every step can be repeated.

A copied version keeps its number, its time and its digest; so the same copy again finds its own objects and goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from adapterhub.adapter.check import check_folder
from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.errors import VersionExists
from adapterhub.registry import layout
from adapterhub.registry.aliases import Mark
from adapterhub.registry.policy import read_policy, require_quota
from adapterhub.registry.publish import fill, require_claim_within_quota
from adapterhub.registry.pull import read
from adapterhub.registry.records import ClaimRecord, to_bytes
from adapterhub.registry.resolve import Version, read_version, versions
from adapterhub.registry.stores import Store
from adapterhub.registry.trust import add_signature, read_signature, require_signed_publish

_SIDE_FOLDERS = ("aliases", "gates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """One thing that is now in the other registry."""

    what: str
    """A reference, or the key of a record."""
    is_new: bool
    """False where it was there already."""


def copy_adapter(source: Store, target: Store, path: str) -> Iterator[Copied]:
    """Copy every version of `namespace/name`, then its aliases' history and gates; yield each as it is done.

    Raises VersionExists where a number means other content there; InvalidFolder where the source is damaged.
    """
    for version in versions(source, path):
        yield copy_version(source, target, version)
    for folder in _SIDE_FOLDERS:
        for key in source.keys(f"{path}/{folder}"):
            yield _copy_record(source, target, key)


def copy_version(source: Store, target: Store, version: Version) -> Copied:
    """Copy one version under its own number, every digest compared. Raises as `copy_adapter`."""
    path, number = version.path, version.version
    there = read_version(target, path, number)
    if there is not None and there.digest != version.digest:
        raise _other_content(target, version)
    if there is None:
        content = read(source, version)
        check_folder(content)
        signature = read_signature(source, path, number)
        require_signed_publish(target, content.files[MANIFEST_FILE], signature, version.reference)
        policy = read_policy(target)
        claim = ClaimRecord(id=f"copy-{version.digest}", at=version.published_at, size_bytes=version.size_bytes)
        claim_key = layout.file_key(path, number, layout.CLAIM_FILE)
        if not target.exists(claim_key):
            require_quota(target, policy, path, version.size_bytes)
        if target.create(claim_key, to_bytes(claim)):
            require_claim_within_quota(target, policy, path, number)  # only its own claim may be given back
        elif target.get(claim_key) != to_bytes(claim):
            raise _other_content(target, version)
        mark = Mark(at=version.published_at, by=version.published_by)
        there = fill(target, path, number, claim, content, mark, signature)
        read(target, there)
    elif (signature := read_signature(source, path, number)) is not None:
        manifest = target.get(layout.file_key(path, number, MANIFEST_FILE)) or b""
        require_signed_publish(target, manifest, signature, version.reference)
        add_signature(target, path, number, signature)
    key = layout.file_key(path, number, layout.YANKED_FILE)
    if source.exists(key):
        _copy_record(source, target, key)
    return Copied(what=version.reference, is_new=there.is_new)


def _copy_record(source: Store, target: Store, key: str) -> Copied:
    data = source.get(key)
    assert data is not None, f"{key} was listed a moment ago and nothing is ever removed"
    is_new = target.create(key, data)
    if not is_new and target.get(key) != data:
        raise VersionExists(f"{key} says something else in {target.place} than in {source.place}.",
                            hint="Both registries went on by themselves; promote there by hand.")
    return Copied(what=key, is_new=is_new)


def _other_content(target: Store, version: Version) -> VersionExists:
    return VersionExists(f"{version.reference} is taken by other content in {target.place}.",
                         hint=f"Pull it and publish it there under the next number: adapterhub pull {version.pinned} "
                              f"FOLDER.")
