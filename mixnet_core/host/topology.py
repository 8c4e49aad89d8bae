"""Which cores this process may run on, and how near they are to its devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = Path("/sys/devices/system")
_PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True)
class Cores:
    """Holds the threads of cores that the scheduler lets this process on.

    Attributes:
        usable: their numbers.
        present: how many the machine has.
        whole: how many cores they are of; None: the kernel does not say.
        nodes: NUMA node -> all of its threads; {} where the kernel does not say.
    """

    usable: frozenset[int]
    present: int
    whole: int | None
    nodes: dict[int, frozenset[int]]

    def usable_nodes(self) -> tuple[int, ...]:
        """Lists the nodes that this process may run on."""
        return tuple(node for node, cores in sorted(self.nodes.items()) if cores & self.usable)


def read_cores(system: Path = _SYSTEM) -> Cores:
    """Reads the affinity of this process, which a control group's cpuset bounds too."""
    usable = frozenset(os.sched_getaffinity(0))
    siblings = {
        text
        for core in usable
        if (text := _text(system / "cpu" / f"cpu{core}" / "topology" / "thread_siblings_list"))
    }
    nodes = {
        int(folder.name[4:]): parse_list(_text(folder / "cpulist"))
        for folder in (system / "node").glob("node[0-9]*")
        if folder.name[4:].isdecimal()
    }
    return Cores(usable, os.cpu_count() or len(usable), len(siblings) or None, nodes)


def node_of_device(bus: str, pci: Path = _PCI) -> int | None:
    """Reads the NUMA node of a PCI address; None: the kernel does not say."""
    text = _text(pci / bus / "numa_node")
    # -1 where the firmware does not know.
    return int(text) if text.isdecimal() else None


def parse_list(text: str) -> frozenset[int]:
    """Reads "0-3,8"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def as_list(cores: Iterable[int]) -> str:
    """Writes "0-3,8"."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and runs[-1][1] == core - 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
