"""Which file system a folder is on, or would be, and whether locks and renames work there."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.host import lock_trial
from mixnet_core.host.command import Answer, ask

_MOUNTS = Path("/proc/self/mountinfo")
_SECONDS = 10.0
_NETWORKED = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "fuse", "9p", "glusterfs")
# Locks then hold on this host only: nfs(5), and "nolock" of NFS 3.
_LOCAL_LOCKS = ("nolock", "local_lock=all", "local_lock=flock", "localflock")


@dataclass(frozen=True)
class Mount:
    """Holds where a folder's file system comes from.

    Attributes:
        kind: such as ext4, nfs4, overlay.
        options: of the mount and of the file system.
    """

    point: str
    kind: str
    options: frozenset[str]

    @property
    def networked(self) -> bool:
        """Tells whether other hosts may see it too."""
        return self.kind.startswith(_NETWORKED)

    @property
    def locks_here_only(self) -> bool:
        """Tells whether its locks are not seen by other hosts."""
        return any(option in self.options for option in _LOCAL_LOCKS)


def nearest_existing(path: Path) -> Path:
    """Returns a path as absolute, or the nearest folder above it that exists."""
    path = path.absolute()
    # Not Path.exists, which raises for what is in a folder that others may not look into.
    return next(folder for folder in (path, *path.parents) if os.path.exists(folder))  # noqa: PTH110


def mount_of(folder: Path, mounts: Path = _MOUNTS) -> Mount | None:
    """Finds the mount that a folder is in; None: the kernel does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    real, found = folder.resolve(), None
    for line in lines:
        left, _, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) < 6 or len(after) < 3:
            continue
        # The kernel writes a space as \040.
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before[4])
        # A later mount over the same point hides the earlier one.
        if real.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
            options = frozenset((*before[5].split(","), *after[2].split(",")))
            found = Mount(point, after[0], options)
    return found


def try_locks(folder: Path, *, seconds: float = _SECONDS) -> dict[str, str]:
    """Locks and renames small files in a folder, which are gone afterwards.

    Returns:
        What did not work -> why; {} if all did. "answer" where nothing came back in time.
    """
    return _read(_try(str(folder), seconds=seconds), seconds)


def is_locked(file: Path, *, seconds: float = _SECONDS) -> bool | str:
    """Tells whether another process has a file locked, on whichever host; or why it cannot say."""
    found = _read(_try("--held", str(file), seconds=seconds), seconds)
    held = found.pop("held", None)
    return held == "yes" if held is not None else "; ".join(found.values())


def _try(*words: str, seconds: float) -> Answer:
    arguments = ["-I", "-S", str(lock_trial.__file__), *words]
    return ask(Path(sys.executable), arguments, seconds=seconds)


def _read(answer: Answer, seconds: float) -> dict[str, str]:
    if answer.how == "hung":
        return {"answer": f"no answer for {seconds:.0f} s"}
    try:
        found: dict[str, str] = json.loads(answer.text)
    except ValueError:
        return {"answer": answer.line}
    return found
