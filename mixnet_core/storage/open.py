"""From a URI to the storage that it names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from mixnet_core.errors import InputError
from mixnet_core.kinds.kind import Kind
from mixnet_core.storage.schemes.file import FileStorage
from mixnet_core.storage.storage import Scheme, Storage
from mixnet_core.storage.uris import refuse_credentials, shown

SCHEMES: Kind[Scheme] = Kind("mixnet_core.storage.schemes", "SCHEME")


def open_storage(uri: str, *, single_writer: bool = False) -> Storage:
    """Opens the storage at a URI. Nothing is contacted or made yet.

    Args:
        uri: `file:///abs/path`, `s3://bucket` or `s3://bucket/prefix`, or a path without a scheme.
        single_writer: as `storage.Storage.single_writer`.

    Raises:
        InputError: another scheme, no bucket, a relative `file://`, credentials inside the URI.
        MachineError: the AWS configuration on this machine is broken.
    """
    storage = _opened(uri)
    storage.single_writer = single_writer
    return storage


def open_object(uri: str) -> tuple[Storage, str]:
    """Splits the URI of an object, or of a release's folder, into its storage and its last part.

    Returns:
        The storage, opened, and the key in it.

    Raises:
        InputError: as `open_storage`, or nothing follows the bucket.
        MachineError: as `open_storage`.
    """
    refuse_credentials(uri)
    parent, separator, name = uri.rstrip("/").rpartition("/")
    if separator and not parent:
        parent = "/"
    if not parent or parent.endswith(":/") or not name:
        raise InputError(
            f"{shown(uri)!r} names no object: expected file:///abs/path or s3://bucket/key"
        )
    if parent == "file://":
        parent = "file:///"
    return open_storage(parent), unquote(name) if uri.startswith("file://") else name


def _opened(uri: str) -> Storage:
    refuse_credentials(uri)
    scheme, separator, rest = uri.partition("://")
    known = SCHEMES.names()
    if not separator:
        if not uri.strip() or re.match(rf"({'|'.join(known)}):", uri):
            raise InputError(
                f"{shown(uri)!r} is no storage: expected file:///abs/path, s3://bucket/prefix or a "
                "path"
            )
        return FileStorage(Path(uri).expanduser().absolute())
    if scheme not in known:
        raise InputError(
            f"the scheme of {shown(uri)!r} is not supported: expected "
            f"{' or '.join(f'{name}://' for name in known)}"
        )
    # Only now: boto3 takes a third of a second to import, which local folders need not pay.
    return SCHEMES.load(scheme).open(rest, uri)
