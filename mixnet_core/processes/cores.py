"""How many CPU cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cores(
    *, groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> int:
    """Counts the cores that the scheduler lets this process on, or that a container's quota allows.

    On a node of 192 cores, a Kubernetes pod with a limit of 8 still sees 192: threads for all of
    them would be stopped for most of every tenth of a second.

    Args:
        groups: where Linux names this process's control groups.
        mounted: where their files are (version 2).

    Returns:
        The lower of both numbers, at least 1.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *_quotas(groups, mounted)]))


def _quotas(groups: Path, mounted: Path) -> list[int]:
    """Lists the quotas of the process's group and of every group above it, in cores, rounded up."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    found = []
    group = mounted / own.strip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(mounted):
            break
        try:
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            continue
        if quota.isdecimal() and period.isdecimal():
            found.append(math.ceil(int(quota) / max(1, int(period))))
    return found
