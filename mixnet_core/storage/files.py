"""Durable files: written aside in the target's folder, verified or synced, then renamed.

A reader therefore sees the old content, the new content or nothing; never a part. What a crash
leaves behind is named `.aside-*`; the next write into the same folder removes it (`asides`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mixnet_core.errors import InputError, IntegrityError, MachineError
from mixnet_core.storage.asides import ASIDE_PREFIX, held_aside
from mixnet_core.storage.uris import shown

__all__ = [
    "ASIDE_PREFIX",
    "call_between_pieces",
    "expect_targets",
    "expect_writable",
    "file_aside",
    "fingerprint",
    "folder_aside",
    "is_address",
    "lacks_room",
    "os_errors_explained",
    "read_json",
    "sha256_of",
    "sync",
    "write_json",
    "write_text",
]

# On a disk that is nearly standing still, a piece still takes no longer than a person would wait.
_CHUNK_BYTES = 1 << 18

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

_between_pieces: ContextVar[Callable[[], None] | None] = ContextVar("between_pieces", default=None)


def call_between_pieces(call: Callable[[], None]) -> None:
    """Has this thread call something between the pieces of what takes long here, as reading a file.

    A job gives its signs of life so: digests of many gigabytes are no hang, whoever computes them.
    Other threads call nothing; that they go on says nothing of this one.
    """
    _between_pieces.set(call)


def _piece_done() -> None:
    call = _between_pieces.get()
    if call is not None:
        call()


@contextmanager
def os_errors_explained(path: Path | str, verb: str = "write") -> Iterator[None]:
    """Turns an OSError into one line that names the path, the cause and the remedy.

    Raises:
        MachineError: for every OSError inside the block.
    """
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "free space or choose another folder",
            errno.EDQUOT: "your quota is used up: free space or choose another folder",
            errno.EACCES: "fix its permissions or choose another folder",
            errno.EPERM: "fix its permissions or choose another folder",
            errno.EROFS: "the file system is read-only: choose another folder",
            errno.ENOTDIR: "a part of the path is a file: choose another folder",
        }
        remedy = remedies.get(error.errno or 0, "check the path and try again")
        raise MachineError(f"cannot {verb} {path}: {error.strerror or error}; {remedy}") from error


def lacks_room(error: BaseException) -> bool:
    """Tells whether an error comes of a full disk or a quota that is used up."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        cause = cause.__cause__
    return False


def sha256_of(path: Path) -> str:
    """Returns the hex sha256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            _piece_done()
    return digest.hexdigest()


def fingerprint(data: Any) -> str:
    """Returns the hex sha256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_address(path: Path) -> bool:
    """Tells whether somebody gave a URI, s3://bucket/x, for a path, which keeps one of its slashes.

    A folder of such a name is reached by its absolute path.
    """
    return _ADDRESS.match(str(path)) is not None


@contextmanager
def file_aside(target: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yields a path in the target's folder; renames it to `target` if the block succeeds.

    The parent folder is made. If the block raises, nothing is left and `target` is as before.

    Args:
        mode: 0o600 for a secret, which at no moment anybody else can read.

    Raises:
        MachineError: the folder cannot be written, the disk is full.
    """
    with os_errors_explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with held_aside(target.parent) as held:
            # Under the target's name: what looks at suffixes sees the right one.
            aside = held.path / target.name
            aside.touch(0o600)
            yield aside
            sync(aside)
            aside.chmod(mode)
            aside.replace(target)
            sync(target.parent)


def expect_writable(target: Path) -> None:
    """Makes sure that `file_aside` can write a file, before the work for it; leaves nothing.

    Raises:
        InputError: a folder stands there.
        MachineError: as `file_aside`.
    """
    if target.is_dir():
        raise InputError(f"{target} is a folder, expected a file to write: add a name to it")
    if is_address(target):
        raise InputError(
            f"{shown(str(target))} is an address, expected a file here: write one, and copy it "
            "there"
        )
    with os_errors_explained(target):
        made = [parent for parent in target.parents if not parent.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with held_aside(target.parent) as held:
                (held.path / target.name).touch(0o600)
        finally:
            for parent in made:
                # Another process may have put something into it meanwhile.
                with suppress(OSError):
                    parent.rmdir()


def expect_targets(targets: Iterable[Path | None], kept: Iterable[Path | None] = ()) -> None:
    """Makes sure that each file can be written, and takes the place of no other one.

    Args:
        targets: None for one that is not asked for.
        kept: files that are read.

    Raises:
        InputError, MachineError: as `expect_writable`.
    """
    # Unlike Path.resolve it takes links that lead in a circle.
    taken = [os.path.realpath(path) for path in kept if path is not None]
    for target in (path for path in targets if path is not None):
        if os.path.realpath(target) in taken:
            raise InputError(
                f"{shown(str(target))} is named for two things: give each file a name of its own"
            )
        taken.append(os.path.realpath(target))
        expect_writable(target)


@contextmanager
def folder_aside(target: Path, *, unless: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """Yields an empty folder beside `target`; renames it to `target` if the block succeeds.

    An existing `target` is replaced only then: it is first renamed aside, so a crash between the
    two renames leaves no `target` rather than a mixture.

    Args:
        unless: asked when all is on the disk, which takes minutes for a million files: where it is
            true, as because another process was first, what stands at `target` stays.

    Raises:
        MachineError: the parent cannot be written, the disk is full.
    """
    with os_errors_explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with held_aside(target.parent) as held:
            aside = held.path / target.name
            old = held.path / f"{target.name}.old"
            aside.mkdir(0o700)
            yield aside
            for path in aside.rglob("*"):
                if path.is_file():
                    sync(path)
                    _piece_done()
            sync(aside)
            aside.chmod(0o755)
            # Before it is asked: what comes after that is not taken away, and makes renaming fail.
            exists = target.exists()
            if unless():
                return
            if exists:
                target.rename(old)
            try:
                aside.rename(target)
            except OSError:
                if old.exists():
                    old.rename(target)
                elif unless():
                    return
                raise
            sync(target.parent)


def write_text(target: Path, text: str, mode: int = 0o644) -> None:
    """Writes a text file in UTF-8.

    Raises:
        MachineError: as `file_aside`.
    """
    with file_aside(target, mode) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(target: Path, data: Any) -> None:
    """Writes indented JSON with sorted keys, so that equal data is equal bytes.

    Raises:
        MachineError: as `file_aside`.
    """
    write_text(target, json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads the value in a JSON file.

    Raises:
        InputError: there is no such file.
        IntegrityError: the file is not JSON.
        MachineError: it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"no file at {path}: check the path")
    with os_errors_explained(path, "read"):
        content = path.read_bytes()
    try:
        return json.loads(content)
    # Of thousands of brackets, it is Python's stack that ends.
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{path} is not valid JSON ({error}): delete it and run the stage that writes it again"
        ) from error


def sync(path: Path) -> None:
    """Flushes a file or folder to disk, so that the rename after it cannot overtake its content.

    Raises:
        OSError: it cannot be opened or flushed.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
