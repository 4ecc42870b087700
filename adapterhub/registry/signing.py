"""Signatures: who vouches for a manifest, by OpenSSF model-signing. It knows no registry; that is imported when asked.

What is signed is a folder that holds the manifest alone, which has the digest of every other file; so a signature is
checked without reading an adapter's tensors, and `model_signing verify --ignore_unsigned_files` checks it too.
"""

import base64
import hashlib
import importlib.util
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.adapter.manifest import MANIFEST_FILE
from adapterhub.errors import InvalidConfig, PolicyRefused

_CERTIFICATE, _PUBLIC_KEY = "-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----"
_BUNDLE = "signature.json"
_MAKE_KEY = "Make one with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`."


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """What somebody signs with."""

    key: Path
    """A private key on one of the curves P-256, P-384 and P-521, in PEM, without a password."""
    certificate: Path | None = None
    """The certificate of that key, in PEM, with those between it and the root behind it; None for a bare key."""


def sign(manifest: bytes, signing_key: SigningKey) -> bytes:
    """Return a signature over a manifest, as a Sigstore bundle. Raises InvalidConfig for a key that cannot sign."""
    _require_library()
    from model_signing import signing  # optional and slow to import

    with _manifest_alone(manifest) as (folder, bundle):
        try:
            if signing_key.certificate is None:
                config = signing.Config().use_elliptic_key_signer(private_key=signing_key.key)
            else:
                config = signing.Config().use_certificate_signer(
                    private_key=signing_key.key, signing_certificate=signing_key.certificate,
                    certificate_chain=[signing_key.certificate])
            config.sign(folder, bundle)
        except (OSError, ValueError, TypeError, AttributeError) as error:  # the last: a key of another kind than EC
            raise InvalidConfig(f"{signing_key.key} cannot sign: {_first_line(error)}.", hint=_MAKE_KEY) from error
        return bundle.read_bytes()


def require_signer(manifest: bytes, signature: bytes | None, trusted: Sequence[str], what: str) -> str:
    """Return who signed a manifest, in words, if it is one of `trusted` (public keys or certificates, PEM).

    Raises PolicyRefused where it is not signed, by nobody of them, or where the signature is of other bytes.
    """
    _require_library()
    if signature is None:
        raise PolicyRefused(f"{what} is not signed.", hint="Publish it with --sign-key, or take another version.")
    if not trusted:
        raise PolicyRefused(f"{what} is {claimed_signer(signature)}, and no key is trusted here.",
                            hint="Name one with --trust, or in the registry by `adapterhub policy --trust FILE`.")
    faults = []
    for pem in trusted:
        fault = _fault(manifest, signature, pem)
        if fault is None:
            return _signer(signature, pem)
        faults.append(f"{shown_key(pem)}: {fault}")
    raise PolicyRefused(f"{what} is {claimed_signer(signature)}, which no trusted key confirms ({'; '.join(faults)}).",
                        hint="Trust its signer with --trust FILE, or do not take it.")


def claimed_signer(signature: bytes) -> str:
    """Return who a signature says has made it, unchecked."""
    material = _material(signature)
    key = material.get("publicKey")
    if isinstance(key, dict) and re.fullmatch("[0-9a-f]{64}", str(key.get("hint"))):
        return f"signed by a key {key['hint'][:12]}"
    return "signed by a certificate" if "x509CertificateChain" in material else "signed by a damaged signature"


def require_trust_anchor(file: Path) -> str:
    """Read a public key or certificate as PEM. Raises InvalidConfig where it is none, or a private key."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{file} cannot be read as a key: {_first_line(error)}.") from error
    if "PRIVATE KEY" in text or (_PUBLIC_KEY not in text and _CERTIFICATE not in text):
        raise InvalidConfig(f"{file} is no public key or certificate in PEM.",
                            hint="Take the public half: openssl ec -in key.pem -pubout -out key.pub")
    return text


def changed_keys(keys: Sequence[str], trusted: Sequence[Path], distrusted: Sequence[Path]) -> list[str]:
    """Return a list of trusted keys with some added and some taken out. Raises InvalidConfig for one that is none."""
    gone = {require_trust_anchor(file).strip() for file in distrusted}
    added = [require_trust_anchor(file).strip() for file in trusted]
    return list(dict.fromkeys(pem for pem in [*keys, *added] if pem not in gone))


def shown_key(pem: str) -> str:
    """Return a trusted key in words: its kind and the first digits of its SHA-256."""
    _require_library()
    if _CERTIFICATE in pem:
        return f"certificate {hashlib.sha256(pem.strip().encode()).hexdigest()[:12]}"
    return f"key {_key_hash(pem)[:12]}"


def _fault(manifest: bytes, signature: bytes, pem: str) -> str | None:
    """Say why a signature does not hold by one key, None where it does."""
    from model_signing import verifying  # optional and slow to import

    if (_CERTIFICATE in pem) != ("x509CertificateChain" in _material(signature)):
        return "it is of another kind"
    with _manifest_alone(manifest) as (folder, bundle):
        bundle.write_bytes(signature)
        anchor = bundle.with_name("anchor.pem")
        anchor.write_text(pem, encoding="utf-8")
        try:
            config = verifying.Config()
            if _CERTIFICATE in pem:
                config.use_certificate_verifier(certificate_chain=[anchor])
            else:
                config.use_elliptic_key_verifier(public_key=anchor)
            config.verify(folder, bundle)
        except Exception as error:  # of four libraries; whatever it is, the signature does not hold
            return _first_line(error)
    return None


def _signer(signature: bytes, pem: str) -> str:
    if _CERTIFICATE not in pem:
        return f"key {_key_hash(pem)[:12]}"
    from cryptography import x509  # comes with model-signing

    chain = _material(signature)["x509CertificateChain"]["certificates"]
    leaf = x509.load_der_x509_certificate(base64.b64decode(chain[0]["rawBytes"]))
    return f"{leaf.subject.rfc4514_string()} (certificate of {leaf.issuer.rfc4514_string()})"


def _key_hash(pem: str) -> str:
    """Return the SHA-256 that model-signing writes into a signature as the key's hint."""
    from cryptography.hazmat.primitives import serialization  # comes with model-signing

    try:
        key = serialization.load_pem_public_key(pem.encode())
    except ValueError as error:
        raise InvalidConfig(f"A trusted key cannot be read: {_first_line(error)}.", hint=_MAKE_KEY) from error
    encoded = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


def _material(signature: bytes) -> dict[str, Any]:
    try:
        found = json.loads(signature)["verificationMaterial"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _manifest_alone(manifest: bytes) -> Iterator[tuple[Path, Path]]:
    """Yield a folder that holds only the manifest, and a path beside it for the signature."""
    with tempfile.TemporaryDirectory(prefix="adapterhub-") as place:
        folder = Path(place) / "adapter"
        folder.mkdir()
        (folder / MANIFEST_FILE).write_bytes(manifest)
        yield folder, Path(place) / _BUNDLE


def _require_library() -> None:
    if importlib.util.find_spec("model_signing") is None:
        raise InvalidConfig("Signatures need model-signing, which is not installed.",
                            hint="pip install 'adapterhub[signing]'")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")[:200] or type(error).__name__
