"""Signed releases: `model.sig` beside the manifest, over the digests of all that a release holds.

That is the manifest, the files it names and their plain-named views. What fetches a file compares
it with the manifest, so a signed manifest is enough to trust what is fetched; `stages.verifying`
reads every byte again. Elsewhere `model_signing verify key` checks a copied folder.

    MIXNET_SIGN_KEY     a private key in PEM, with its certificates or without: publishing signs
    MIXNET_VERIFY_KEY   a public key, or certificates to trust: what they did not sign is refused
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.release.local_weights import LocalWeights
from mixnet_core.release.manifest import MANIFEST, Manifest, PublishedRelease, parse_manifest
from mixnet_core.release.origin import Origin
from mixnet_core.release.signature_bundle import (
    expect_signed,
    key_file,
    private_key,
    public_key,
    public_part,
    signed_bundle,
)
from mixnet_core.release.views import views_of
from mixnet_core.storage.open import open_object
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import shown

SIGNATURE = "model.sig"
SIGN_KEY = "MIXNET_SIGN_KEY"
VERIFY_KEY = "MIXNET_VERIFY_KEY"
NOT_SIGNED = "not signed"


def signing_key() -> str | None:
    """Returns the path of the private key that MIXNET_SIGN_KEY names, if any."""
    return os.environ.get(SIGN_KEY) or None


def verifying_key() -> str | None:
    """Returns the path of the key that MIXNET_VERIFY_KEY names, if any."""
    return os.environ.get(VERIFY_KEY) or None


def is_signed(uri: str) -> bool:
    """Tells whether there is a signature of the release at `uri`, verified or not.

    Raises:
        InputError, MachineError, TransientError: as `storage.Storage`.
    """
    storage, name = open_object(uri)
    return storage.exists(f"{name}/{SIGNATURE}")


def expect_keys(private: str | Path | None, public: str | Path | None) -> str:
    """Makes sure, before the work, that the keys that are configured can be used.

    Returns:
        In one line what they are for; "" if there are none.

    Raises:
        InputError: there is none at a path, or it cannot be used.
        MachineError: model-signing is not installed; a key cannot be read.
    """
    said = []
    if private:
        private_key(key_file(private, "private"))
        said.append(f"releases are signed with {shown(str(private))}")
    if public:
        public_key(key_file(public, "public"))
        said.append(f"only releases signed by the key of {shown(str(public))} are taken")
    return "; ".join(said)


def sign_release(uri: str, key: str | Path) -> bool:
    """Signs the published release at `uri`; a signature by this key that is right stays.

    Args:
        key: path of a private key in PEM, of P-256, P-384 or P-521. Certificates in the same file,
            its own first, go into the signature.

    Returns:
        Whether a signature was written.

    Raises:
        InputError: no release, no key, or one that cannot be used.
        IntegrityError: the manifest is broken.
        MachineError: model-signing is not installed; and as `storage.Storage`.
        TransientError: as `storage.Storage`.
    """
    path = key_file(key, "private")
    private_key(path)
    storage, name, content, manifest = _manifest(uri)
    digests = _digests(manifest, content)
    where = f"{name}/{SIGNATURE}"
    with TemporaryDirectory() as folder:
        public = Path(folder) / "public.pem"
        public.write_bytes(public_part(path))
        if storage.exists(where):
            try:
                expect_signed(storage.read(where), digests, public, f"{storage.uri}/{where}")
                return False
            except IntegrityError:
                # Of another key, or of what was damaged: this publisher's takes its place.
                pass
        aside = Path(folder) / SIGNATURE
        bundle = signed_bundle(manifest.name, digests, path)
        aside.write_bytes(bundle)
        storage.upload(aside, where, hashlib.sha256(bundle).hexdigest())
    return True


def verify_signature(
    uri: str, key: str | Path, *, is_copy: bool = False, manifest_sha256: str | None = None
) -> str:
    """Verifies the signature of the release at `uri`; of its files only the manifest is read.

    Args:
        key: path of a public key in PEM, or of certificates to trust.
        is_copy: of a release that somebody put elsewhere, under whatever name.
        manifest_sha256: hex, of the manifest that was read before and is to be trusted.

    Returns:
        By whom it is signed, in a line.

    Raises:
        IntegrityError: it is not signed, by another key, or of other bytes; which file is named.
        InputError: no release, or no usable key.
        MachineError: model-signing is not installed; and as `storage.Storage`.
        TransientError: as `storage.Storage`.
    """
    path = key_file(key, "public")
    storage, name, content, manifest = _manifest(uri, is_copy=is_copy)
    where = f"{name}/{SIGNATURE}"
    if not storage.exists(where):
        raise IntegrityError(
            f"release {storage.uri}/{name} is {NOT_SIGNED} (no {SIGNATURE}), a signature by the "
            f"key of {shown(str(key))} is demanded: publish it again with --sign-with, or unset "
            f"{VERIFY_KEY}"
        )
    if manifest_sha256 not in (None, manifest.manifest_sha256):
        raise IntegrityError(
            f"{storage.uri}/{name}/{MANIFEST} was changed while it was read: try again"
        )
    digests = _digests(manifest, content)
    expect_signed(storage.read(where), digests, path, f"{storage.uri}/{where}")
    return f"{manifest.name} is signed, by the key of {shown(str(key))}"


def require_signed(release: object) -> None:
    """Refuses a release without the signature that MIXNET_VERIFY_KEY demands.

    What it says nothing of passes: entries of the catalog, whose digests stand there, and files of
    one's own that lie in no release.

    Args:
        release: as `release.initial.find_initial` returns it.

    Raises:
        MixnetError: as `verify_signature`, where a key is configured.
    """
    key = verifying_key()
    if key is None:
        return
    if isinstance(release, PublishedRelease):
        verify_signature(release.uri, key, manifest_sha256=release.manifest_sha256)
    elif isinstance(release, LocalWeights):
        require_signed_origin(release.path, release.origin)


def require_signed_origin(file: Path, origin: Origin | None) -> None:
    """Does what `require_signed` does, of a file of weights and what it lies in.

    Args:
        origin: as `release.origin.origin_of` found it.
    """
    key = verifying_key()
    if key is not None and origin is not None and origin.release is not None:
        read = origin.release.manifest_sha256
        # Where the manifest was found: the file may be named by a link.
        folder = file.resolve().parent.as_uri()
        verify_signature(folder, key, is_copy=True, manifest_sha256=read)


def _digests(manifest: Manifest, content: bytes) -> dict[str, str]:
    """Returns the digests of what a signature covers, by name in the release's folder."""
    return {
        MANIFEST: hashlib.sha256(content).hexdigest(),
        **{file.name: file.sha256 for file in manifest.files.values()},
        **{plain: file.sha256 for plain, file in views_of(manifest).items()},
    }


def _manifest(uri: str, *, is_copy: bool = False) -> tuple[Storage, str, bytes, PublishedRelease]:
    storage, name = open_object(uri)
    if not storage.exists(f"{name}/{MANIFEST}"):
        raise InputError(
            f"no release at {shown(uri)}: expected a folder with {MANIFEST}; check the name"
        )
    content = storage.read(f"{name}/{MANIFEST}")
    return storage, name, content, parse_manifest(content, f"{storage.uri}/{name}", is_copy=is_copy)
