"""`file:///abs/path`: a folder on this machine or on a mounted disk."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from pathlib import Path
from urllib.parse import unquote

from mixnet_core.errors import InputError, MachineError
from mixnet_core.storage.asides import held_aside
from mixnet_core.storage.files import ASIDE_PREFIX, file_aside, os_errors_explained, sha256_of
from mixnet_core.storage.storage import CHUNK_BYTES, OnBytes, Storage, check_digest, checked_key
from mixnet_core.storage.uris import shown


class _File:
    """Opens `file://` URIs."""

    def open(self, rest: str, uri: str) -> Storage:
        """Opens the folder at an absolute path.

        Raises:
            InputError: the path is relative.
        """
        if not rest.startswith("/"):
            raise InputError(
                f"{shown(uri)!r} is relative: expected file:///abs/path with three slashes, or a "
                "bare path"
            )
        return FileStorage(Path(unquote(rest)))


SCHEME = _File()


class FileStorage:
    """Implements `storage.Storage` in a folder, which the first write makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Only the root folder's own URI ends in a slash.
        self.uri = root.as_uri().removesuffix("/")

    def read(self, key: str) -> bytes:
        """Reads a small object's content, as `Storage.read`."""
        path = self._path(key)
        self._check_is_there(path)
        with os_errors_explained(path, "read"):
            return path.read_bytes()

    def exists(self, key: str) -> bool:
        """Tells whether there is an object at `key`."""
        path = self._path(key)
        with os_errors_explained(path, "read"):
            return path.is_file()

    def names(self, folder: str = "") -> list[str]:
        """Lists the names directly in a folder, as `Storage.names`."""
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
        """Puts a file at `key`, as `Storage.upload`."""
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
        """Copies an object to a file, as `Storage.download`."""
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
        """Puts `content` at `key` if nothing is there, as `Storage.create`."""
        target = self._path(key)
        with os_errors_explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with held_aside(target.parent) as held:
                complete = held.path / target.name
                with file_aside(complete) as aside:
                    aside.write_bytes(content)
                try:
                    # A link fails if the name is taken, where a rename would replace what it names.
                    os.link(complete, target)
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
                        raise
                    raise MachineError(
                        f"cannot create {target}: its file system has no hard links, without which "
                        "two writers could overwrite each other; choose another folder"
                    ) from error
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return True

    def check_writable(self) -> None:
        """Writes and deletes a small object."""
        probe = self.root / f"{ASIDE_PREFIX}{uuid.uuid4().hex}"
        with file_aside(probe) as aside:
            aside.write_bytes(b"writable\n")
        with os_errors_explained(probe, "delete"):
            probe.unlink()

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def _check_is_there(self, path: Path) -> None:
        with os_errors_explained(path, "read"):
            is_file = path.is_file()
        if not is_file:
            raise InputError(f"no file at {path}: check the path")
