"""Where released files live: a folder (`file:///abs/path` or a bare path) or `s3://bucket/prefix`.

A key is a relative path with forward slashes below the place that `open_storage` was given. Secrets
are never parameters: S3 takes them from boto3's default chain, another server than Amazon's from
AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from mixnet_core.errors import InputError, IntegrityError, MachineError
from mixnet_core.files import ASIDE_PREFIX, file_aside, os_errors_explained, sha256_of
from mixnet_core.uris import refuse_credentials, shown

CHUNK_BYTES = 1 << 20

OnBytes = Callable[[int, "int | None"], None]
"""Called while bytes arrive: how many there are so far, and how many in all if that is known."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Storage(Protocol):
    """The verbs that publishing and fetching need.

    Every method raises:
        InputError: a key that leaves the place, a bucket that does not exist.
        MachineError: no permission, no or wrong credentials, a full disk.
        TransientError: the service does not answer or is overloaded.
    """

    uri: str
    """Canonical, without a slash at the end."""

    def read(self, key: str) -> bytes:
        """A small object's content. Raises InputError if there is none."""

    def exists(self, key: str) -> bool: ...

    def names(self, folder: str = "") -> list[str]:
        """Sorted names directly in a folder, folders ending in a slash; [] if it is missing."""

    def upload(self, path: Path, key: str, sha256: str) -> bool:
        """Puts a file at `key`; what is there already with this digest is left alone.

        The stored bytes are read back and hashed, so on return they are known to be right.

        Returns:
            Whether anything was transferred.

        Raises:
            IntegrityError: the file is not what `sha256` (hex) says, or was stored wrongly.
        """

    def download(self, key: str, target: Path, on_bytes: OnBytes | None = None) -> str:
        """Copies an object to a file that appears complete or not at all.

        Returns:
            Hex sha256 of what was written; comparing it is the caller's.

        Raises:
            InputError: there is no such object.
        """

    def create(self, key: str, content: bytes) -> bool:
        """Puts `content` at `key` if nothing is there: at most one racing caller gets True.

        False does not prove that another wrote it: a repeated request may find the object that an
        unanswered first one made. Compare the content.
        """

    def check_writable(self) -> None:
        """Writes and deletes a small object: learn of a missing permission before hours of work."""


def open_storage(uri: str) -> Storage:
    """The storage at a URI. Nothing is contacted or made yet.

    Args:
        uri: `file:///abs/path`, `s3://bucket` or `s3://bucket/prefix`, or a path without a scheme.

    Raises:
        InputError: another scheme, no bucket, a relative `file://`, credentials inside the URI.
        MachineError: the AWS configuration on this machine is broken.
    """
    refuse_credentials(uri)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if not uri.strip() or re.match(r"(file|s3):", uri):
            raise InputError(
                f"{shown(uri)!r} is no storage: expected file:///abs/path, s3://bucket/prefix or a "
                "path"
            )
        return FileStorage(Path(uri).expanduser().absolute())
    if scheme == "file":
        if not rest.startswith("/"):
            raise InputError(
                f"{shown(uri)!r} is relative: expected file:///abs/path with three slashes, or a "
                "bare path"
            )
        return FileStorage(Path(unquote(rest)))
    if scheme != "s3":
        raise InputError(
            f"the scheme of {shown(uri)!r} is not supported: expected file:// or s3://"
        )
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InputError(f"{shown(uri)!r} names no usable bucket: expected s3://bucket/prefix")
    prefix = prefix.rstrip("/")
    # boto3 takes a third of a second to import, which work on local folders need not pay.
    from mixnet_core.storage_s3 import S3Storage

    return S3Storage(bucket, checked_key(prefix) if prefix else "")


def open_object(uri: str) -> tuple[Storage, str]:
    """The storage and key of one object's URI, or of a release's folder: all but its last part.

    Raises:
        InputError: as `open_storage`, or nothing follows the bucket.
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


def checked_key(key: str) -> str:
    """Raises InputError for a key that could leave its storage or name two things."""
    if "\\" in key or "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise InputError(
            f"{shown(key)!r} is no usable key: expected names joined by single slashes"
        )
    return key


class FileStorage:
    """A folder, which the first write makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Only the root folder's own URI ends in a slash.
        self.uri = root.as_uri().removesuffix("/")

    def read(self, key: str) -> bytes:
        path = self._path(key)
        self._check_is_there(path)
        with os_errors_explained(path, "read"):
            return path.read_bytes()

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with os_errors_explained(path, "read"):
            return path.is_file()

    def names(self, folder: str = "") -> list[str]:
        path = self._path(folder.rstrip("/")) if folder else self.root
        with os_errors_explained(path, "read"):
            if not path.is_dir():
                return []
            return sorted(
                item.name + ("/" if item.is_dir() else "")
                for item in path.iterdir()
                if not item.name.startswith(ASIDE_PREFIX)
            )

    def upload(self, path: Path, key: str, sha256: str) -> bool:
        target = self._path(key)
        self._check_is_there(path)
        with os_errors_explained(target, "read"):
            if target.is_file() and sha256_of(target) == sha256:
                return False
        with os_errors_explained(path, "read"):
            source = path.open("rb")
        with source, file_aside(target) as aside:
            with aside.open("wb") as out:
                shutil.copyfileobj(source, out, CHUNK_BYTES)
            check_digest(sha256_of(aside), sha256, path)
        return True

    def download(self, key: str, target: Path, on_bytes: OnBytes | None = None) -> str:
        source = self._path(key)
        self._check_is_there(source)
        digest, done = hashlib.sha256(), 0
        with os_errors_explained(source, "read"):
            file, total = source.open("rb"), source.stat().st_size
        with file, file_aside(target) as aside, aside.open("wb") as out:
            while True:
                with os_errors_explained(source, "read"):
                    chunk = file.read(CHUNK_BYTES)
                if not chunk:
                    break
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if on_bytes is not None:
                    on_bytes(done, total)
        return digest.hexdigest()

    def create(self, key: str, content: bytes) -> bool:
        target = self._path(key)
        complete = target.with_name(f"{ASIDE_PREFIX}{uuid.uuid4().hex}")
        with file_aside(complete) as aside:
            aside.write_bytes(content)
        with os_errors_explained(target):
            try:
                # A link fails if the name is taken, where a rename would replace what it names.
                os.link(complete, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
                    raise
                raise MachineError(
                    f"cannot create {target}: its file system has no hard links, without which two "
                    "writers could overwrite each other; choose another folder"
                ) from error
            finally:
                complete.unlink(missing_ok=True)
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return True

    def check_writable(self) -> None:
        probe = self.root / f"{ASIDE_PREFIX}{uuid.uuid4().hex}"
        with file_aside(probe) as aside:
            aside.write_bytes(b"writable\n")
        with os_errors_explained(probe, "delete"):
            probe.unlink()

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def _check_is_there(self, path: Path) -> None:
        with os_errors_explained(path, "read"):
            there = path.is_file()
        if not there:
            raise InputError(f"no file at {path}: check the path")


def check_digest(actual: str, expected: str, path: Path) -> None:
    """Raises IntegrityError where a local file is no longer what was hashed."""
    if actual != expected:
        raise IntegrityError(
            f"{path} has sha256 {actual[:12]}, expected {expected[:12]}: it changed after it was "
            "hashed; nothing was stored, run the stage again"
        )


def stored_wrongly(uri: str, actual: str | None, expected: str) -> IntegrityError:
    """What to raise where a service confirmed an upload and then hands out something else."""
    return IntegrityError(
        f"{shown(uri)} reads back as sha256 {(actual or 'nothing')[:12]}, expected "
        f"{expected[:12]}: the service did not keep what it confirmed; check it before publishing "
        "again"
    )
