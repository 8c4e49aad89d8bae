"""Keys and certificates for tests, made here: elliptic, as model signing takes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def key_pair(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """Writes a private and a public key in PEM."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(private_pem(key, password))
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def private_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    how = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def certified(folder: Path) -> tuple[Path, Path]:
    """Writes a key with the certificate that an authority gave it, and the authority's own."""
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("authority", authority, "authority", authority, is_authority=True)
    leaf = _certificate("publisher", key, "authority", authority, is_authority=False)
    private, trusted = folder / "certified.pem", folder / "authority.pem"
    folder.mkdir(parents=True, exist_ok=True)
    pem = serialization.Encoding.PEM
    private.write_bytes(private_pem(key) + leaf.public_bytes(pem) + root.public_bytes(pem))
    trusted.write_bytes(root.public_bytes(pem))
    return private, trusted


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_authority:
        others = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        made = made.add_extension(x509.KeyUsage(digital_signature=True, **others), critical=True)
    return made.sign(signer, hashes.SHA256())
