"""Who uses a mirror: a lock for as long as a process lives, so that nobody removes it meanwhile."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mixnet_core.errors import MachineError
from mixnet_core.storage.files import os_errors_explained

PLACE = "place.json"
"""Stands in each mirror's folder, and says what it is of."""

_USED, _BUSY, _ROOM = ".used", ".busy", ".room"
_LOOK_SECONDS = 0.3

# Descriptors that hold what this process uses; the kernel lets go when it ends, however it ends.
_held: dict[Path, int] = {}


def hold(path: Path) -> None:
    """Keeps the mirror that a path lies in, if it lies in one, for as long as this process lives.

    Where it cannot be locked it is read all the same: then nobody can remove it either.
    """
    mirror = _mirror_of(path)
    if mirror is None:
        return
    with suppress(OSError):
        # One that somebody removed all the same, and that was fetched anew, is another one.
        if mirror in _held and not _is_at(_held[mirror], mirror / _USED):
            os.close(_held.pop(mirror))
        if mirror not in _held:
            # Read only: so may its disk be, for whoever trains.
            handle = os.open(mirror / _USED, os.O_RDONLY | os.O_CREAT, 0o644)
            _held[mirror] = handle
            # Waits for whoever removes it just now.
            fcntl.flock(handle, fcntl.LOCK_SH)
        os.utime(mirror / _USED)


def last_used(mirror: Path) -> float:
    """Returns when a process began to use it: seconds since 1970; 0: never."""
    try:
        return (mirror / _USED).stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def if_unused(mirror: Path, *, fetched_here: bool = False) -> Iterator[bool]:
    """Yields whether nobody uses or fetches a mirror; nobody begins to while the block runs.

    Args:
        fetched_here: whether this process is the one that fetches, and does not use it yet.
    """
    handles: list[int] = []
    try:
        try:
            for name in (_USED,) if fetched_here else (_BUSY, _USED):
                handles.append(os.open(mirror / name, os.O_RDWR | os.O_CREAT, 0o644))
                fcntl.flock(handles[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Also where the file system has no locks: nobody can know.
            yield False
            return
        yield True
    finally:
        for handle in handles:
            os.close(handle)


def is_fetched(mirror: Path) -> bool:
    """Tells whether a process fetches into a mirror just now."""
    try:
        handle = os.open(mirror / _BUSY, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


@contextmanager
def one_at_a_time(mirrors: Path) -> Iterator[None]:
    """Lets one process at a time decide what room mirrors have; waits for others.

    Raises:
        MachineError: it cannot be locked.
    """
    with os_errors_explained(mirrors):
        handle = os.open(mirrors / _ROOM, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with os_errors_explained(mirrors, "lock"):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def fetching(mirror: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lets one process at a time fetch into a mirror.

    Args:
        on_wait: called once if another one does.

    Raises:
        MachineError: the file system has no locks, or it cannot be written.
    """
    while True:
        with os_errors_explained(mirror):
            mirror.mkdir(parents=True, exist_ok=True)
            handle = os.open(mirror / _BUSY, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle, mirror, on_wait)
            if _is_at(handle, mirror / _BUSY):
                yield
                return
            # It was removed while this one waited.
        finally:
            os.close(handle)


def _lock(handle: int, mirror: Path, on_wait: Callable[[], None]) -> None:
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                on_wait()
                told = True
            time.sleep(_LOOK_SECONDS)
        except OSError as error:
            raise MachineError(
                f"cannot lock {mirror}: {error.strerror or error}; set MIXNET_CACHE to a folder "
                "whose file system has locks"
            ) from error
        else:
            return


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _mirror_of(path: Path) -> Path | None:
    found = (folder for folder in path.parents if (folder / PLACE).is_file())
    return next((folder for folder in found if (folder / _BUSY).exists()), None)
