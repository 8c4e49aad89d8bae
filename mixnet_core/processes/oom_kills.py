"""Whether the kernel's out-of-memory killer ended processes meanwhile: a SIGKILL does not say.

Two witnesses, of which each may be missing: this process's memory cgroup, which its children share,
counts such kills; the kernel's log names the process, where it may be read.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_KERNEL_LOG = Path("/dev/kmsg")
_KILLED = re.compile(r"(?:Out of memory|out of memory): Killed process (\d+)")
# The longest record that the kernel hands out; a shorter buffer is refused.
_RECORD_BYTES = 1 << 13


class OomKills:
    """Counts the processes that were killed so, from its construction on."""

    def __init__(self) -> None:
        self._counter = _counter()
        self._before = _count(self._counter)
        # As the log counts: since the machine started, without suspension.
        self._began = time.monotonic()

    @property
    def counted(self) -> bool:
        """Says whether there is a counter: without one, none found does not mean none happened."""
        return self._before is not None

    def evidence(self, pids: Collection[int]) -> str | None:
        """Says what shows that a process was killed so; None if nothing does.

        Args:
            pids: of the processes in question. The counter counts the whole cgroup's.
        """
        named = _named_in_log(self._began) & set(pids)
        if named:
            return f"{_KERNEL_LOG} names process {min(named)}"
        now = _count(self._counter)
        if self._before is not None and now is not None and now > self._before:
            return f"{self._counter} counts {now - self._before} more"
        return None


def _counter() -> Path | None:
    """Finds the file that counts for this process's cgroup, of version 2 or 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    candidates = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if controllers == "":
            candidates.append(_CGROUPS / below / "memory.events")
        elif "memory" in controllers.split(","):
            candidates.append(_CGROUPS / "memory" / below / "memory.oom_control")
            # In a container whose own cgroup is mounted as the root.
            candidates.append(_CGROUPS / "memory" / "memory.oom_control")
    candidates.append(_CGROUPS / "memory.events")
    return next((file for file in candidates if _count(file) is not None), None)


def _count(file: Path | None) -> int | None:
    if file is None:
        return None
    try:
        found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def _named_in_log(since: float) -> set[int]:
    """Lists process ids in the kernel's log from `since` on, a time of the monotonic clock in s."""
    try:
        log = os.open(_KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return set()
    found = set()
    try:
        while True:
            try:
                record = os.read(log, _RECORD_BYTES).decode(errors="replace")
            except BrokenPipeError:
                # Overwritten while being read: the next one is there.
                continue
            head, _, text = record.partition(";")
            killed = _KILLED.search(text)
            if killed and int(head.split(",")[2]) / 1e6 >= since:
                found.add(int(killed[1]))
    except OSError:
        # BlockingIOError: that was all.
        return found
    finally:
        os.close(log)
