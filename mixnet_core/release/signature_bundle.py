"""Signatures as OpenSSF's model signing makes them: a Sigstore bundle over names and digests.

The library (`pip install model-signing`) hashes a folder; here the digests are known, so that a
release in a store is signed and verified without its files. It works offline with a local key.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from mixnet_core.errors import InputError, IntegrityError, MachineError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import refuse_credentials, shown

PASSWORD = "MIXNET_SIGN_PASSWORD"
"""Environment variable: of a private key that is encrypted."""
MISSING = (
    "signing and verifying need model-signing, which cannot be loaded: run `pip install "
    "'mindspore-mixnet[signing]'`"
)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
# Before it is read: a few files with their digests.
_MOST_BYTES = 1 << 22


def signed_bundle(name: str, digests: Mapping[str, str], key: Path) -> bytes:
    """Signs files by their digests.

    Args:
        name: of what they are together; it is not part of what is verified.
        digests: name -> sha256, hex.
        key: a private key, with certificates or without, as `private_key`.

    Raises:
        InputError, MachineError: as `private_key`.
    """
    signer = private_key(key)
    with TemporaryDirectory() as folder:
        aside = Path(folder) / "signature"
        with _explained(key):
            signer.set_hashing_config(_Known(name, digests)).sign(Path(name), aside)
        return aside.read_bytes()


def expect_signed(bundle: bytes, digests: Mapping[str, str], key: Path, where: str) -> None:
    """Makes sure that a bundle is a signature by a key of all these files with these digests.

    Files that it names besides are not looked at.

    Args:
        key: a public key in PEM, or certificates to trust.
        where: of the bundle, for errors.

    Raises:
        IntegrityError: it is not; what was changed is named.
        InputError: the key cannot be used.
        MachineError: the library is not installed; the key cannot be read.
    """
    verifier = public_key(key)
    signed = _signed_names(bundle, where)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "signature"
        path.write_bytes(bundle)
        known = {name: digests.get(name) or digest for name, digest in signed.items()}
        verifier.set_hashing_config(_Known("release", known)).set_ignore_unsigned_files(True)
        try:
            verifier.verify(Path("release"), path)
        # A broken bundle makes the library raise whatever it meets.
        except Exception as error:
            changed = [name for name in sorted(signed) if signed[name] != known[name]]
            raise IntegrityError(_refused(where, key, error, changed)) from error
    left = sorted(digests.keys() - signed.keys())
    if left:
        raise IntegrityError(
            f"{where} does not cover {', '.join(left)}: take the release from who published it, or "
            "sign it again"
        )


def private_key(path: Path) -> Any:
    """Returns the library's signer for a private key in PEM; certificates beside it are taken too.

    Raises:
        InputError: it cannot be used.
        MachineError: the library is not installed; the key cannot be read.
    """
    config = _library("signing").Config()
    content = _content(path)
    with _explained(path):
        if _CERTIFICATE in content:
            return config.use_certificate_signer(
                private_key=path, signing_certificate=path, certificate_chain=[path]
            )
        return config.use_elliptic_key_signer(private_key=path, password=_password())


def public_key(path: Path) -> Any:
    """Returns the library's verifier for a public key in PEM, or for certificates to trust.

    Raises:
        InputError, MachineError: as `private_key`.
    """
    config = _library("verifying").Config()
    content = _content(path)
    with _explained(path):
        if _CERTIFICATE in content:
            return config.use_certificate_verifier(certificate_chain=[path])
        return config.use_elliptic_key_verifier(public_key=path)


def public_part(path: Path) -> bytes:
    """Returns what verifies a private key's signatures, in PEM: its public key or certificates.

    Raises:
        InputError, MachineError: as `private_key`.
    """
    content = _content(path)
    if _CERTIFICATE in content:
        return content[content.index(_CERTIFICATE) :]
    serialization = import_module("cryptography.hazmat.primitives.serialization")
    with _explained(path):
        public = serialization.load_pem_private_key(content, _password()).public_key()
    found: bytes = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def key_file(key: str | Path, kind: str) -> Path:
    """Returns the path of a key.

    Raises:
        InputError: there is no such file.
    """
    refuse_credentials(str(key))
    path = Path(key).expanduser()
    if not path.is_file():
        raise InputError(f"no {kind} key at {shown(str(key))}: expected a file in PEM")
    return path


class _Known:
    """Stands in for the library's hashing: the digests are known, no file is read."""

    def __init__(self, name: str, digests: Mapping[str, str]) -> None:
        self._name, self._digests = name, digests

    def hash(self, model_path: Path, *, files_to_hash: Iterable[Path] | None = None) -> Any:
        """Returns the digests of all files, or of those that a signature names."""
        manifest = import_module("model_signing.manifest")
        digest = import_module("model_signing._hashing.hashing").Digest
        names = list(self._digests)
        if files_to_hash is not None:
            names = [Path(file).relative_to(model_path).as_posix() for file in files_to_hash]
        items = [
            manifest.FileManifestItem(
                path=PurePosixPath(name),
                digest=digest("sha256", bytes.fromhex(self._digests[name])),
            )
            for name in names
        ]
        how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
        return manifest.Manifest(self._name, items, manifest.SerializationType.from_args(how))

    def add_ignored_paths(self, *, model_path: Path, paths: Iterable[PurePath]) -> None:
        """Takes what another program's signature leaves out of a folder: nothing of a release."""


def _signed_names(bundle: bytes, where: str) -> dict[str, str]:
    """Reads which files a bundle says it is of, with their digests; that it is so shows later."""
    try:
        if len(bundle) > _MOST_BYTES:
            raise ValueError("too long")
        payload = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
        resources = payload["predicate"]["resources"]
        found = {str(item["name"]): str(item["digest"]).lower() for item in resources}
        for name, digest in found.items():
            if len(bytes.fromhex(digest)) != 32 or name.startswith("/") or ".." in name.split("/"):
                raise ValueError(name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise IntegrityError(
            f"{where} is no signature that can be read: take the release from who published it"
        ) from None
    return found


def _refused(where: str, key: Path, error: Exception, changed: list[str]) -> str:
    text = " ".join(str(error).split())
    if text.startswith("Signature mismatch") and changed:
        return (
            f"{', '.join(changed)} {'is' if len(changed) == 1 else 'are'} not what was signed, "
            f"says {where}: take the release from who published it"
        )
    reason = "another key signed it" if "Key mismatch" in text else text or type(error).__name__
    return (
        f"{where} is no signature by the key of {shown(str(key))} ({reason}): take the release "
        "from who published it, or give the key of who did"
    )


def _content(path: Path) -> bytes:
    with os_errors_explained(path, "read"):
        return path.read_bytes()


def _password() -> Any:
    """Returns the password as the library's function takes it, whose signature says text."""
    password = os.environ.get(PASSWORD)
    return password.encode() if password else None


def _library(name: str) -> Any:
    try:
        return import_module(f"model_signing.{name}")
    except ImportError as error:
        raise MachineError(f"{MISSING} ({error})") from error


def _unsupported() -> type[Exception]:
    """Returns what cryptography raises of a curve that it does not know, which is no ValueError."""
    found: type[Exception] = import_module("cryptography.exceptions").UnsupportedAlgorithm
    return found


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns whatever a key makes the library raise into one line."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, _unsupported()) as error:
        reason = " ".join(str(error).split()).partition(".")[0] or type(error).__name__
        raise InputError(
            f"cannot use the key {shown(str(path))} ({reason}): expected one of P-256, P-384 or "
            f"P-521 in PEM; the password of an encrypted one stands in {PASSWORD}"
        ) from error
