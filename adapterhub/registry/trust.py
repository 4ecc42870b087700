"""Whose signatures count in a registry, and where a version's signature lies. It knows no cryptography."""

from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.errors import PolicyRefused
from adapterhub.registry import layout, signing
from adapterhub.registry.policy import read_policy
from adapterhub.registry.resolve import Version
from adapterhub.registry.stores import Store


def require_trusted(store: Store, version: Version, manifest: bytes, trusted: Sequence[str]) -> None:
    """Refuse a version that is not signed by one of `trusted`, or of the registry's keys where its policy asks so.

    Costs one listing where nobody asks for a signature. Raises PolicyRefused.
    """
    policy = read_policy(store)
    if not trusted and not policy.needs_signature:
        return
    keys = [*trusted] or policy.keys
    signing.require_signer(manifest, read_signature(store, version.path, version.version), keys, version.reference)


def require_signed_publish(store: Store, manifest: bytes, signature: bytes | None, path: str) -> None:
    """Refuse to publish what the registry's readers would refuse to take. Raises PolicyRefused."""
    policy = read_policy(store)
    if policy.needs_signature:
        signing.require_signer(manifest, signature, policy.keys, path)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a version."""

    name: str
    """In words."""
    is_confirmed: bool
    """Whether a trusted key confirmed it; else it is what the signature says."""


def who_signed(store: Store, version: Version, manifest: bytes, trusted: Sequence[str]) -> Signer | None:
    """Return who signed a version, None where nobody did.

    Raises PolicyRefused where there are keys to check by and a signature that none of them confirms.
    """
    signature = read_signature(store, version.path, version.version)
    keys = [*trusted] or read_policy(store).keys
    if signature is None:
        return None
    if not keys:
        return Signer(signing.claimed_signer(signature), is_confirmed=False)
    return Signer(signing.require_signer(manifest, signature, keys, version.reference), is_confirmed=True)


def read_signature(store: Store, path: str, number: int) -> bytes | None:
    """Return a version's signature, None where it has none."""
    return store.get(layout.file_key(path, number, layout.SIGNATURE_FILE))


def add_signature(store: Store, path: str, number: int, signature: bytes) -> None:
    """Put a signature beside a version; one by the same signer that is there stays.

    Raises PolicyRefused where another signer's is there.
    """
    key = layout.file_key(path, number, layout.SIGNATURE_FILE)
    if store.create(key, signature):
        return
    signer = signing.claimed_signer(store.get(key) or b"")
    if signer != signing.claimed_signer(signature):
        raise PolicyRefused(f"{path}@{number} is {signer} already.", hint="Publish a new version to sign it anew.")
