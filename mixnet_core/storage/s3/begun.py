"""Which upload in parts this machine began for a key, so that after a kill it goes on with it.

    ~/.cache/mixnet/uploads/KEY     the upload's id, see `storage.user_cache`

The file is locked by the process that is at it; the kernel lets go when that ends, however it ends.
An upload that a living process is at is left to it: two that send the same parts could have each
other's taken away by a service that tidies up. Without such a file nothing is lost but time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mixnet_core.errors import MixnetError
from mixnet_core.storage.user_cache import cache_folder

_KIND = "uploads"


class Begun:
    """Remembers the id of one upload.

    Attributes:
        upload: of an earlier process's that did not end; "": there is none.
    """

    def __init__(self, path: Path | None = None, handle: int = -1) -> None:
        self._path, self._handle = path, handle
        self.upload = ""
        if path is not None:
            with suppress(OSError):
                self.upload = os.pread(handle, 4096, 0).decode(errors="replace")

    def note(self, upload: str) -> None:
        """Writes down an id in place of the one that was there."""
        if self._path is not None:
            # Of a torn one the service knows nothing, which is as good as none.
            with suppress(OSError):
                os.ftruncate(self._handle, 0)
                os.pwrite(self._handle, upload.encode(), 0)

    def forget(self) -> None:
        """Removes what was written down."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


@contextmanager
def begun_here(name: str) -> Iterator[Begun]:
    """Holds what this machine knows of an upload of this name, for as long as the block runs.

    Where another process holds it, or no file can be written, that is nothing.
    """
    path = _path(name)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600) if path else -1
    except OSError:
        handle = -1
    if path is None or handle < 0:
        yield Begun()
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            begun = Begun()
        else:
            begun = Begun(path, handle)
        yield begun
    finally:
        os.close(handle)


def _path(name: str) -> Path | None:
    try:
        return cache_folder(_KIND) / hashlib.sha256(name.encode()).hexdigest()[:32]
    except MixnetError:
        return None
