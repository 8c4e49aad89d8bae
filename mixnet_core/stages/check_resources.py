"""Checks of what a host has room for: disk, memory, files, processes, cores, locks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mixnet_core.errors import MachineError
from mixnet_core.host.file_system import mount_of, nearest_existing, try_locks
from mixnet_core.host.limits import file_room, memory_room, process_room
from mixnet_core.host.npu_smi import Chip
from mixnet_core.host.topology import as_list, node_of_device, read_cores
from mixnet_core.processes.cores import usable_cores
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.check_result import (
    CheckResult,
    failed,
    from_error,
    gigabytes,
    good,
    unknown,
    warning,
)
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.user_cache import VARIABLE

# At most, of a rank of the digits recipe, two ranks on two cores: docs/numbers.md. Larger images,
# networks and machines take more.
RANK_BYTES = 1_150_000_000
RANK_FILES = 26
RANK_THREADS = 16
# Too little, and little. A run writes logs, metrics and bundles whatever it trains, and operators
# and graphs into the cache; an exported network is a temporary file for a while.
_LITTLE_BYTES = {"workspace": (200e6, 5e9), "temporary files": (50e6, 1e9), "cache": (200e6, 1e9)}
# Docker's default, 64 MB, is what is meant: MindSpore's data processes and HCCL keep buffers there.
_SHARED_BYTES = 1e9
_SHARED = Path("/dev/shm")
_PYTHONS = ((3, 11), (3, 13))


def check_python() -> CheckResult:
    """Checks that this Python is one that the packages are made for."""
    found = f"Python {platform.python_version()} on {platform.machine()}"
    first, after = _PYTHONS
    if not first <= sys.version_info[:2] < after:
        fix = f"use Python {first[0]}.{first[1]} to {after[0]}.{after[1] - 1}"
        return failed("python", f"{found}: mindspore and Prefect have none for it", fix)
    return good("python", found)


def check_locks(workspace: Workspace) -> CheckResult:
    """Locks and renames files in the workspace, as what keeps two runs apart and records whole."""
    folder = workspace.root
    try:
        with os_errors_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except MachineError as error:
        return from_error("locks", error)
    mount = mount_of(folder)
    where = f"{folder} ({mount.kind})" if mount else str(folder)
    wrong = try_locks(folder)
    if wrong:
        said = "; ".join(f"{step}: {why}" for step, why in wrong.items())
        fix = (
            "choose a workspace on a local disk, or mount it with locks (NFS: without nolock; "
            "Lustre: with -o flock)"
        )
        return failed("locks", f"{where} does not do what runs need: {said}", fix)
    if mount and mount.locks_here_only:
        fix = "mount it without nolock and local_lock, or use it from this host alone"
        return warning("locks", f"{where} locks and renames, seen by this host only", fix)
    return good("locks", f"{where} locks and renames")


def check_room(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> CheckResult:
    """Looks at the free disk of the workspace, the temporary folder and the cache."""
    cache = environment.get(VARIABLE) or environment.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:
        said = "no folder takes temporary files ($TMPDIR, /tmp and /var/tmp were tried)"
        return failed("room", said, "make /tmp writable, with room in it, or set TMPDIR")
    places = {
        "workspace": workspace.root,
        "temporary files": temporary,
        "cache": Path(cache).expanduser(),
    }
    found, short, full = [], [], []
    for name, place in places.items():
        there = nearest_existing(place)
        try:
            with os_errors_explained(there, "read"):
                free = shutil.disk_usage(there).free
        except MachineError as error:
            return from_error("room", error)
        found.append(f"{gigabytes(free)} for the {name} at {there}")
        too_little, little = _LITTLE_BYTES[name]
        if free < too_little:
            full.append(name)
        elif free < little:
            short.append(name)
    detail = ", ".join(found)
    fix = "free space, or set --workspace, TMPDIR, MIXNET_CACHE to a larger disk"
    if full:
        return failed("room", f"{detail}: too little for the {' and the '.join(full)}", fix)
    if short:
        return warning("room", detail, fix)
    return good("room", f"{detail} free")


def check_shared_memory(ranks: int, *, folder: Path = _SHARED) -> CheckResult:
    """Looks at shared memory, of which a container has 64 MB unless it is given more."""
    try:
        usage = shutil.disk_usage(folder)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        return unknown("shm", f"{folder}: {error.strerror}")
    detail = f"{gigabytes(usage.free)} of {gigabytes(usage.total)} free in {folder}"
    fix = "docker run --shm-size=8g; in Kubernetes an emptyDir with medium Memory there"
    if not writable:
        return failed("shm", f"{folder} is not writable", f"chmod 1777 {folder}")
    if usage.free < _SHARED_BYTES * max(1, ranks) / 8:
        return warning("shm", detail, fix)
    return good("shm", detail)


def check_memory(ranks: int) -> CheckResult:
    """Compares the memory that this process may use with what that many ranks take at least."""
    room = memory_room()
    needed = ranks * RANK_BYTES
    if room.left is None or room.limit is None:
        return unknown("memory", f"limit of {room.source} unknown")
    detail = f"{gigabytes(room.left)} of {gigabytes(room.limit)} left, by {room.source}"
    fix = "end what uses it, raise the container's limit, or lower devices.ranks"
    if room.left < needed:
        said = f"{detail}; {_ranks(ranks)} {gigabytes(needed)} even of the digits recipe"
        return failed("memory", said, fix)
    if room.left < 2 * needed:
        return warning("memory", detail, fix)
    return good("memory", detail)


def check_files() -> CheckResult:
    """Looks at how many files one process may have open."""
    soft, hard = file_room()
    detail = f"{soft} open files a process (ulimit -n)"
    fix = f"ulimit -n {min(hard, 65536)}; for a service LimitNOFILE=, in Docker --ulimit nofile="
    if soft < 2 * RANK_FILES:
        return failed("files", f"{detail}; the smallest rank has {RANK_FILES} open", fix)
    # Every connection and every image on its way is one; 1024, the usual default, is enough.
    return warning("files", detail, fix) if soft < 1024 else good("files", detail)


def check_processes(ranks: int) -> CheckResult:
    """Looks at how many processes and threads more there may be."""
    room = process_room()
    if room.left is None:
        return good("processes", "no limit on processes and threads")
    needed = ranks * RANK_THREADS
    detail = f"{room.left} processes and threads more of {room.limit} ({room.source})"
    fix = "raise it: ulimit -u, TasksMax= of the service, or the container's --pids-limit"
    if room.left < needed:
        return failed("processes", f"{detail}; {_ranks(ranks)} {needed}", fix)
    return (
        warning("processes", detail, fix) if room.left < 10 * needed else good("processes", detail)
    )


def check_cores(ranks: int, chips: Sequence[Chip]) -> CheckResult:
    """Looks at the cores that this process may use, and whether its devices are near them."""
    cores, usable = read_cores(), usable_cores()
    nodes = cores.usable_nodes()
    detail = f"{len(cores.usable)} of {cores.present} ({as_list(cores.usable)})"
    if cores.whole and cores.whole < len(cores.usable):
        detail += f", threads of {cores.whole} cores"
    if usable < len(cores.usable):
        detail += f", {usable} by the container's quota"
    if nodes:
        detail += f", NUMA node {','.join(map(str, nodes))} of {len(cores.nodes)}"
    far = {
        number: node
        for number, chip in enumerate(chips)
        if chip.bus and (node := node_of_device(chip.bus)) is not None
        if nodes and node not in nodes
    }
    if far:
        said = ", ".join(f"{number} (node {node})" for number, node in far.items())
        fix = "start it on these nodes' cores too (taskset, cpuset.cpus, --cpuset-cpus)"
        return warning("cores", f"{detail}; devices on other nodes: {said}", fix)
    if usable < ranks:
        fix = "lower devices.ranks, or give the container more cores"
        return warning("cores", f"{detail}, for {ranks} ranks", fix)
    return good("cores", detail)


def _ranks(count: int) -> str:
    return "1 rank takes" if count == 1 else f"{count} ranks take"
