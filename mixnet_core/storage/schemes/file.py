"""`file:///abs/path`: a folder on this machine or on a mounted disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from mixnet_core.errors import InputError
from mixnet_core.storage.asides import (
    Aside,
    drop_aside,
    held_aside,
    hold_aside,
    remove_left_asides,
)
from mixnet_core.storage.files import ASIDE_PREFIX, file_aside, os_errors_explained, sha256_of
from mixnet_core.storage.storage import (
    CHUNK_BYTES,
    OnBytes,
    Storage,
    Stored,
    check_digest,
    checked_key,
    no_create_if_absent,
)
from mixnet_core.storage.trial import try_publishing
from mixnet_core.storage.uris import shown

# What file systems without hard links answer, some that run as programs too.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_LINKLESS = "it has no hard links: that nobody else publishes here is taken on trust"


def _real(place: str) -> str:
    # Unlike Path.resolve it takes links that lead in a circle.
    return os.path.realpath(place)


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
        self.single_writer = False
        self._lacks: list[str] = []

    def is_there(self) -> bool:
        """Tells whether the folder exists."""
        with os_errors_explained(self.root, "read"):
            return self.root.is_dir()

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
            # One question, as somebody else may be making the folder, or removing it.
            if path.is_file():
                raise InputError(f"{path} is a file: expected a folder")
            try:
                items = list(path.iterdir())
            except FileNotFoundError:
                return []
            return sorted(
                item.name + ("/" if item.is_dir() else "")
                for item in items
                if not item.name.startswith(ASIDE_PREFIX)
            )

    def listed(self, folder: str = "") -> list[Stored]:
        """Lists all objects in a folder and below it, as `Storage.listed`."""
        top = self._path(folder.rstrip("/")) if folder else self.root
        found = []
        with os_errors_explained(top, "read"):
            if top.is_file():
                raise InputError(f"{top} is a file: expected a folder")
            above: dict[str, frozenset[str]] = {}
            # A release may be a link to where there is room; a link to what is above ends there.
            for place, folders, files in os.walk(top, followlinks=True):
                outer, real = above.get(str(Path(place).parent), frozenset()), _real(place)
                if real in outer:
                    folders.clear()
                    continue
                above[place] = outer | {real}
                folders[:] = [name for name in folders if not name.startswith(".")]
                for name in files:
                    path = Path(place) / name
                    # Another process may have deleted it since.
                    with contextlib.suppress(FileNotFoundError):
                        state = path.stat()
                        key = path.relative_to(self.root).as_posix()
                        found.append(Stored(key, state.st_size, state.st_mtime))
        return sorted(found)

    def is_link(self, folder: str) -> bool:
        """Tells whether a folder is a link, as `Storage.is_link`."""
        return self._path(folder).is_symlink()

    def now(self) -> float:
        """Returns the file system's time where a file can be written, else this machine's."""
        with contextlib.suppress(OSError), held_aside(self.root) as held:
            # A share's clock is its server's.
            return held.path.stat().st_mtime
        return time.time()

    def unfinished(self) -> list[Stored]:
        """Lists folders aside, as `Storage.unfinished`."""
        found = []
        with os_errors_explained(self.root, "read"):
            for place in [self.root, *self._folders()]:
                for path in place.glob(f"{ASIDE_PREFIX}*"):
                    with contextlib.suppress(FileNotFoundError):
                        files = [item.stat() for item in path.rglob("*") if item.is_file()]
                        times = [path.stat().st_mtime, *(state.st_mtime for state in files)]
                        key = path.relative_to(self.root).as_posix()
                        size = sum(state.st_size for state in files)
                        found.append(Stored(key, size, max(times), path.name))
        return sorted(found)

    def give_up(self, begun: Stored) -> bool:
        """Removes a folder aside that nobody holds, as `Storage.give_up`."""
        path = self._path(begun.key)
        remove_left_asides(path.parent)
        if path.parent != self.root:
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        return not path.exists()

    def upload(
        self,
        path: Path,
        key: str,
        sha256: str,
        on_bytes: OnBytes | None = None,
        *,
        reread: bool = False,
    ) -> bool:
        """Puts a file at `key`, as `Storage.upload`; what is there is read anyway."""
        target = self._path(key)
        self._check_is_there(path)
        with os_errors_explained(target, "read"):
            if target.is_file() and sha256_of(target) == sha256:
                return False
        with os_errors_explained(path, "read"):
            source, total = path.open("rb"), path.stat().st_size
        with source, self._held_beside(target), file_aside(target) as aside:
            with aside.open("wb") as out:
                while chunk := source.read(CHUNK_BYTES):
                    out.write(chunk)
                    if on_bytes is not None:
                        on_bytes(out.tell(), total)
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
        with os_errors_explained(target), self._held_beside(target) as held:
            complete = held.path / target.name
            with file_aside(complete) as aside:
                aside.write_bytes(content)
            if not self._named(complete, target):
                return False
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return True

    @contextlib.contextmanager
    def _held_beside(self, target: Path) -> Iterator[Aside]:
        """Yields a folder aside in the target's folder, which it makes, and keeps from `remove`."""
        with os_errors_explained(target):
            while True:
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    aside = hold_aside(target.parent)
                    break
                except FileNotFoundError:
                    # Whoever deleted the last file in it deleted the folder.
                    continue
        try:
            yield aside
        finally:
            drop_aside(aside)

    def _named(self, complete: Path, target: Path) -> bool:
        """Gives a complete file its name, unless the name is taken."""
        try:
            # A link fails if the name is taken, where a rename would replace what it names.
            os.link(complete, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not self.single_writer:
                raise no_create_if_absent(self.uri, "the file system has no hard links") from error
            if _LINKLESS not in self._lacks:
                self._lacks.append(_LINKLESS)
            if target.exists():
                return False
            complete.rename(target)
        return True

    def remove(self, key: str) -> None:
        """Deletes the file at `key`, and its folder if nothing else is in it."""
        path = self._path(key)
        with os_errors_explained(path, "delete"):
            path.unlink(missing_ok=True)
        if path.parent != self.root:
            # Another writer's file may be in it by now.
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    def check_writable(self) -> list[str]:
        """Does what publishing does with small files, as `Storage.check_writable`."""
        made = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        try:
            with os_errors_explained(self.root):
                if self.root.is_file():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                # What a killed check leaves is removed by the next one.
                held = self._aside_of_check()
                try:
                    trial = FileStorage(held.path)
                    trial.uri, trial.single_writer = self.uri, self.single_writer
                    try_publishing(trial, joined_by="/")
                finally:
                    drop_aside(held)
        finally:
            # A mistyped path that was looked at must not look like an empty registry afterwards.
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        return trial._lacks

    def _aside_of_check(self) -> Aside:
        """Makes a folder in the root, and that; several hosts may check it at once."""
        tries = 5
        while True:
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                return hold_aside(self.root)
            except FileNotFoundError:
                # Another check has removed the root that was not there before it.
                tries -= 1
                if not tries:
                    raise

    def _folders(self) -> list[Path]:
        """Returns all folders below, but for hidden ones."""
        found = []
        for place, folders, _ in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(place) / name for name in folders]
        return found

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def _check_is_there(self, path: Path) -> None:
        with os_errors_explained(path, "read"):
            is_file = path.is_file()
        if not is_file:
            raise InputError(f"no file at {path}: check the path")
