"""Keys and certificates for the tests of signatures, made anew each time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from adapterhub.registry import SigningKey

NOW = datetime.now(UTC)


def write_key(place: Path, name: str) -> SigningKey:
    """Write `<name>.pem` and `<name>.pub`."""
    key = ec.generate_private_key(ec.SECP256R1())
    _write_private(place / f"{name}.pem", key)
    (place / f"{name}.pub").write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return SigningKey(key=place / f"{name}.pem")


def write_rsa_key(place: Path) -> Path:
    """Write a key of a kind that does not sign here."""
    _write_private(place / "rsa.pem", rsa.generate_private_key(65537, 2048))
    return place / "rsa.pem"


def write_certified_key(place: Path, name: str) -> SigningKey:
    """Write a root `<name>-root.crt`, and a key with a certificate of it."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(f"{name} root", f"{name} root", root_key, root_key, is_root=True)
    leaf = _certificate(name, f"{name} root", key, root_key, is_root=False)
    (place / f"{name}-root.crt").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (place / f"{name}.crt").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    _write_private(place / f"{name}.pem", key)
    return SigningKey(key=place / f"{name}.pem", certificate=place / f"{name}.crt")


def _certificate(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *,
                 is_root: bool) -> x509.Certificate:
    usage = x509.KeyUsage(digital_signature=True, content_commitment=False, key_encipherment=False,
                          data_encipherment=False, key_agreement=False, key_cert_sign=is_root, crl_sign=is_root,
                          encipher_only=False, decipher_only=False)
    builder = (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=30))
               .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
               .add_extension(usage, critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False))
    return builder.sign(signer, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write_private(file: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                       serialization.NoEncryption()))
