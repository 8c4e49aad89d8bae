"""Starts a job's command below a supervisor; at the end nothing of it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from mixnet_core.processes import stopping, supervisor
from mixnet_core.processes.child import ATTEMPT_VARIABLE
from mixnet_core.processes.cores import usable_cores
from mixnet_core.processes.host_ranks import HOST_VARIABLE, HostRanks
from mixnet_core.processes.msrun import folder_of_python

_STOP_SECONDS = 9.0
_SWEEP_SECONDS = 2.0
# Left by an msrun around the caller, they would make one rank wait for others.
_RANK_VARIABLES = (
    "MS_NODE_ID",
    "MS_ROLE",
    "MS_SCHED_HOST",
    "MS_SCHED_PORT",
    "MS_WORKER_NUM",
    "RANK_ID",
    "RANK_SIZE",
)


def environment_of(
    attempt: Path, ranks: HostRanks, *, threads: int, env: Mapping[str, str] | None
) -> dict[str, str]:
    """Returns the environment of a job's processes.

    Args:
        attempt: the attempt's folder.
        ranks: which are this host's.
        threads, env: as `launch.run_job`.
    """
    cores = usable_cores()
    inherited = {key: value for key, value in os.environ.items() if key not in _RANK_VARIABLES}
    environment = {
        # Errors only; its lower levels write a line per operation.
        "GLOG_v": "3",
        # Lines reach the log when they are printed, not when a killed process would have ended.
        "PYTHONUNBUFFERED": "1",
        # Large tensors come from mmap otherwise, and every step pays for fresh, zeroed pages again:
        # training MixNet-S on a CPU takes 1.6 times as long.
        "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:"
        "glibc.malloc.trim_threshold=17179869184",
        **inherited,
        "OMP_NUM_THREADS": str(threads or max(1, cores // ranks.each)),
        # Threads that spin between operations steal time from MindSpore's own pool.
        "OMP_WAIT_POLICY": "PASSIVE",
        **(env or {}),
        ATTEMPT_VARIABLE: str(attempt),
        **({HOST_VARIABLE: str(ranks.host)} if ranks.hosts > 1 else {}),
    }
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = f"{folder_of_python()}{os.pathsep}{path}"
    return environment


@contextmanager
def supervised(
    command: list[str],
    environment: dict[str, str],
    log: IO[bytes],
    attempt: Path,
    ranks: HostRanks,
    keep_open: tuple[int, ...],
    grace_seconds: float,
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the command below a supervisor; at the end of the block nothing of it runs."""
    process = subprocess.Popen(
        # As an isolated script: what lies in the working folder or in PYTHONPATH cannot break it.
        [
            *(sys.executable, "-I", "-S", str(supervisor.__file__)),
            *stopping.supervisor_options(attempt, ranks, grace_seconds),
            *("--", *command),
        ],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=keep_open,
        # A SIGKILL to the caller's process group must not take the supervisor along.
        start_new_session=True,
    )
    lifeline = process.stdin
    assert lifeline is not None
    try:
        yield process
    finally:
        try:
            with suppress(BrokenPipeError):
                lifeline.write(supervisor.STOP)
                lifeline.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            _kill_marked(attempt, ranks)


def _kill_marked(attempt: Path, ranks: HostRanks) -> None:
    """Kills what carries the attempt's folder in its environment, and this host's number.

    Something is left if the supervisor was killed: a job's own children then outlive it.
    """
    deadline = time.monotonic() + _SWEEP_SECONDS
    while time.monotonic() < deadline:
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                marks = process.environ()
                other = marks.get(HOST_VARIABLE, str(ranks.host)) != str(ranks.host)
                if marks.get(ATTEMPT_VARIABLE) == str(attempt) and not other:
                    process.kill()
                    left.append(process)
        if not left:
            return
        psutil.wait_procs(left, timeout=0.5)
