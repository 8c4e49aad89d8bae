"""Folders aside: what is being written stands in one until it takes its place.

    .aside-k3j2h1/      in the folder of what it is for
        .held           locked by its process; the kernel lets go when that ends, however it ends
        NAME            the file or folder that is being written

Whoever makes one first removes those in the same folder that nobody holds any more. Process ids and
ages would not tell: ids are used again and differ between containers, and preparing takes hours.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ASIDE_PREFIX = ".aside-"
_HELD = ".held"
# In which whoever is making or removing one has done so.
_MOMENT_SECONDS = 0.1
# In the lock's file where the file system locks nothing: such an aside is never taken for left.
_UNLOCKED = "unlocked"
# On these a lock that can be had is nobody's. On a network's, another machine's may not be seen.
_LOCAL = ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs")

log = logging.getLogger(__name__)
_said: set[tuple[Path, str]] = set()


@dataclass(frozen=True)
class Aside:
    """Holds a folder aside.

    Attributes:
        path: the folder; it holds its lock, and what is put into it.
        handle: the lock's file descriptor. A child that inherits it holds the folder as well, also
            after this process's death.
    """

    path: Path
    handle: int


class OwnAside:
    """Holds a folder aside for as long as this object lives, in the way of a temporary folder.

    Attributes:
        path: the folder.

    Raises:
        OSError: the parent, which must be there, cannot be written.
    """

    def __init__(self, parent: Path) -> None:
        aside = hold_aside(parent)
        self.path = aside.path
        # Also at the interpreter's end.
        self._drop = weakref.finalize(self, drop_aside, aside)

    def drop(self) -> None:
        """Removes it now."""
        self._drop()


@contextmanager
def held_aside(parent: Path) -> Iterator[Aside]:
    """Yields a new folder in `parent`, which must be there; removes it at the end.

    Raises:
        OSError: `parent` cannot be written.
    """
    aside = hold_aside(parent)
    try:
        yield aside
    finally:
        drop_aside(aside)


def hold_aside(parent: Path) -> Aside:
    """Makes what `held_aside` yields, for an owner that calls `drop_aside` by itself.

    Raises:
        OSError: `parent` cannot be written.
    """
    remove_left_asides(parent)
    while True:
        path = Path(tempfile.mkdtemp(prefix=ASIDE_PREFIX, dir=parent))
        try:
            handle = os.open(path / _HELD, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            # Another process found it before it was held, and removed it.
            continue
        except OSError:
            path.rmdir()
            raise
        try:
            if _locked(handle) and not _is_at(handle, path / _HELD):
                os.close(handle)
                continue
            return Aside(path, handle)
        except OSError:
            os.close(handle)
            _remove(path)
            raise


def drop_aside(aside: Aside) -> None:
    """Removes a folder aside and lets go of it; what cannot be removed is left to the next one."""
    try:
        _remove(aside.path)
    finally:
        os.close(aside.handle)


def remove_left_asides(*parents: Path) -> None:
    """Removes folders aside in these folders whose process is gone.

    What a living process holds is not touched. What may be held by one that cannot be seen from
    here is left, and said once.
    """
    for parent in parents:
        # Whatever is odd about somebody else's leftovers must not stop what is written now.
        with suppress(OSError):
            with os.scandir(parent) as entries:
                found = [
                    Path(item.path)
                    for item in entries
                    if item.name.startswith(ASIDE_PREFIX) and not item.is_symlink()
                ]
            for path in found:
                with suppress(OSError):
                    _remove_if_left(path)


def remove_all_asides(parent: Path) -> None:
    """Removes every folder and file aside in `parent`: nobody but the caller works in it.

    Raises:
        OSError: one cannot be removed.
    """
    for path in parent.glob(f"{ASIDE_PREFIX}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _remove_if_left(path: Path) -> None:
    try:
        handle = os.open(path / _HELD, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        try:
            # Its process died, or is, between making and holding it; see `hold_aside`.
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            # Unless it was just being held, or removed, of which the lock goes last.
            time.sleep(_MOMENT_SECONDS)
            if path.exists() and not (path / _HELD).exists():
                _say(path, "an earlier version of this program, or another program")
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            _say(path, "a process on a file system without locks")
            return
        owner = os.pread(handle, 100, 0).decode(errors="replace")
        if owner == _UNLOCKED:
            _say(path, "a process on a file system without locks")
        elif owner in ("", _kernel()) or _is_local(path):
            _remove(path)
        else:
            _say(path, "a process of another machine, whose lock may not be seen here")
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Locks the file, and notes by which kernel; tells whether it could."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Who holds it is removing it: it is gone when `_is_at` looks, or the next round finds it.
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        with suppress(OSError):
            os.pwrite(handle, _UNLOCKED.encode(), 0)
        return False
    os.pwrite(handle, _kernel().encode(), 0)
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    """Removes a folder aside, its lock last: what is interrupted is found again."""
    with suppress(OSError):
        with os.scandir(path) as entries:
            found = [entry for entry in entries if entry.name != _HELD]
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108
        if os.listdir(path) in ([_HELD], []):  # noqa: PTH208
            (path / _HELD).unlink(missing_ok=True)
            path.rmdir()


@cache
def _kernel() -> str:
    """Returns what is equal in all containers of one running kernel, and nowhere else."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return "unknown"


def _is_local(path: Path) -> bool:
    """Tells whether a path is on a disk of this machine alone; False where that is not known."""
    kind, longest = "", -1
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
            left, _, right = line.partition(" - ")
            point = left.split()[4].encode().decode("unicode_escape")
            if path.resolve().is_relative_to(point) and len(point) >= longest:
                kind, longest = right.split()[0], len(point)
    return kind in _LOCAL


def _say(path: Path, whose: str) -> None:
    """Says it once per folder: where nothing can be locked, neighbours at work look like this."""
    if (path.parent, whose) not in _said:
        _said.add((path.parent, whose))
        log.warning("%s is left: it is of %s; delete it if nothing works there", path, whose)
