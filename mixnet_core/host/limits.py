"""What the kernel lets this process have: memory, files, processes.

A container's limits are its control group's, and of every group above it; both versions of control
groups are read, as hosts with version 1 are still about.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_GROUPS = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")
# What version 1 says where there is no limit is near 2^63.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Room:
    """Holds a limit and what is left of it; a limit of None is none.

    Attributes:
        source: where the limit is set.
    """

    limit: int | None
    left: int | None
    source: str


def memory_room(groups: Path = _GROUPS, mounted: Path = _MOUNTED) -> Room:
    """Returns the bytes that this process may use: of the machine, or of a tighter control group.

    What a group counts as used includes pages of files, which it gives up when it needs room; they
    count as left here, as they do for the machine.
    """
    machine = psutil.virtual_memory()
    rooms = [Room(machine.total, machine.available, "the machine")]
    for folder in _folders("memory", groups, mounted):
        limit = _first(folder, "memory.max", "memory.limit_in_bytes")
        used = _first(folder, "memory.current", "memory.usage_in_bytes")
        if limit is not None and limit < min(_NO_LIMIT, machine.total):
            left = None if used is None else max(0, limit - used + _of_files(folder))
            rooms.append(Room(limit, left, f"its control group ({folder})"))
    return min(rooms, key=lambda room: room.left if room.left is not None else room.limit or 0)


def process_room(groups: Path = _GROUPS, mounted: Path = _MOUNTED) -> Room:
    """Returns how many processes and threads there may be, of this user or in a control group."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    rooms = []
    # The superuser's are not limited by it.
    if soft != resource.RLIM_INFINITY and os.getuid() != 0:
        rooms.append(Room(soft, max(0, soft - _threads_of(os.getuid())), "ulimit -u"))
    for folder in _folders("pids", groups, mounted):
        limit, used = _first(folder, "pids.max"), _first(folder, "pids.current")
        if limit is not None:
            left = None if used is None else max(0, limit - used)
            rooms.append(Room(limit, left, f"its control group ({folder}/pids.max)"))
    known = [room for room in rooms if room.left is not None]
    return min(known, key=lambda room: room.left or 0) if known else Room(None, None, "no limit")


def file_room() -> tuple[int, int]:
    """Returns how many files one process may have open, and how far it may raise that itself."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _threads_of(user: int) -> int:
    count = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == user:
                count += process.num_threads()
    return count


def _folders(controller: str, groups: Path, mounted: Path) -> Iterator[Path]:
    """Yields the folders of this process's group and of those above it, for one controller."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = [*line.split(":", 2), "", ""][:3]
        if names == "":
            top = mounted
        elif controller in names.split(","):
            top = mounted / controller
        else:
            continue
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield folder


def _first(folder: Path, *names: str) -> int | None:
    """Reads the first of these files that holds a number; "max" is none."""
    for name in names:
        with suppress(OSError, ValueError):
            return int((folder / name).read_text(encoding="utf-8"))
    return None


def _of_files(folder: Path) -> int:
    """Reads how many bytes of a group are pages of files that were not used lately."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    pairs = dict(line.partition(" ")[::2] for line in lines)
    text = pairs.get("inactive_file", "0")
    return int(text) if text.isdecimal() else 0
