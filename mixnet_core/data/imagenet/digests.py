"""Archives against their published digests, without reading them a second time."""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path

from mixnet_core.data.imagenet.archives import Archive
from mixnet_core.errors import DigestMismatch, InputError
from mixnet_core.storage.files import os_errors_explained

_CHUNK_BYTES = 512 << 10
# What one reads the other finds in the page cache, where they stay this near to each other.
_NEAR_BYTES = 256 << 20
_LINE = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")


def read_md5sums(path: Path) -> dict[str, str]:
    """Reads a file as `md5sum` writes it.

    Returns:
        file name without folders -> hex md5.

    Raises:
        InputError: there is no such file, a line is none of `md5sum`, a name has two digests.
        MachineError: it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"no file at {path}: check the path")
    with os_errors_explained(path, "read"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise InputError(
                f"line {number} of {path} is {line[:80]!r}: expected an md5 of 32 hex digits, two "
                "spaces and a file name, as md5sum writes it"
            )
        name, digest = match[2].rpartition("/")[2], match[1].lower()
        if found.setdefault(name, digest) != digest:
            raise InputError(f"line {number} of {path} gives {name} a second digest: remove one")
    return found


def md5_of(path: Path) -> str:
    """Returns the hex md5 of a small file.

    Raises:
        MachineError: it cannot be read.
    """
    with os_errors_explained(path, "read"):
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def expect_md5(path: Path, actual: str, expected: str | None) -> None:
    """Makes sure that a file has its published digest.

    Args:
        actual, expected: hex md5; None: nothing is known of the file.

    Raises:
        DigestMismatch: it has another one.
    """
    if expected is not None and actual != expected:
        raise DigestMismatch(
            f"{path} has md5 {actual}, expected {expected}: fetch the archive again; if it is a "
            "part of ImageNet or made anew, --subset or --md5sums says so"
        )


class ReadAlong:
    """Takes an archive's md5 in a thread, while others read it from the beginning to its end.

    An archive of 138 GB does not fit into the memory; neither side gets far ahead of the other, so
    the disk is read once. Use it as a context; leaving it ends the thread.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._digest = hashlib.md5(usedforsecurity=False)
        self._changed = threading.Condition()
        self._hashed = self._front = 0
        self._ended = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="md5", daemon=True)

    @property
    def hashed(self) -> int:
        """Returns how many bytes it has hashed."""
        return self._hashed

    def reading(self, offset: int) -> None:
        """Takes note of where the others read; waits while the digest is too far behind.

        Raises:
            MachineError: the archive cannot be read.
        """
        with self._changed:
            self._front = max(self._front, offset)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._error or self._hashed + _NEAR_BYTES >= min(offset, self._size)
            )
        self._check()

    def md5(self, seconds: float) -> str | None:
        """Returns the hex digest, or None where it is not known yet after so many seconds.

        Call it when the others have read everything.

        Raises:
            MachineError: the archive cannot be read.
        """
        with self._changed:
            self._front = self._size
            self._changed.notify_all()
        self._thread.join(seconds)
        self._check()
        return None if self._thread.is_alive() else self._digest.hexdigest()

    def __enter__(self) -> ReadAlong:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def _size(self) -> int:
        return self._archive.identity.size

    def _check(self) -> None:
        if self._error:
            raise self._error

    def _run(self) -> None:
        buffer = bytearray(_CHUNK_BYTES)
        view = memoryview(buffer)
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._ended or self._hashed <= self._front + _NEAR_BYTES
                    )
                    if self._ended:
                        return
                size = self._archive.read_into(self._hashed, buffer)
                if size == 0:
                    return
                self._digest.update(view[:size])
                with self._changed:
                    self._hashed += size
                    self._changed.notify_all()
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
