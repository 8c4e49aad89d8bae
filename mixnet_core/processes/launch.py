"""Runs one MindSpore job as a supervised child process: `python`, or msrun for several ranks.

A segfault or an out-of-memory kill in a job then fails a call, not the caller, and whoever dies
first, nothing of the job outlives it: `processes.supervisor` holds the job, this module the
supervisor.

Interrupted, a job that can save what it did is asked to and has some time for it: `stopping`.

    attempts/attempt-001/
        request.json  result.json     what the job was given and returned
        failure-RANK.json             what it raised
        process-RANK.json alive-RANK  its process id; touched by each sign of life
        stop.json                     the wish that it saves and ends
        log.txt  workers/*.log        its output; msrun writes one log per rank
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

import psutil
from pydantic import BaseModel

from mixnet_core.errors import MachineError, Stopped
from mixnet_core.processes import child, stopping, supervisor
from mixnet_core.processes.child import ATTEMPT_VARIABLE
from mixnet_core.processes.cores import usable_cores
from mixnet_core.processes.failure import cause_of, failed_worker, stalled
from mixnet_core.processes.oom_kills import OomKills
from mixnet_core.processes.rank_logs import LOG, WORKERS
from mixnet_core.processes.row_follower import RowFollower
from mixnet_core.processes.watchdog import Patience, Watchdog
from mixnet_core.runs.run_dir import newest_attempt
from mixnet_core.storage.asides import remove_left_asides
from mixnet_core.storage.files import os_errors_explained, read_json, write_json

__all__ = ["ATTEMPT_VARIABLE", "Patience", "held_port", "run_job"]

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_STOP_SECONDS = 9.0
# One wish may come as several signals: timeout(1) sends one to its child and one to the group, a
# terminal that closes sends one by the kernel and one by the shell.
_ONE_WISH_SECONDS = 0.5
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


def run_job(
    module: str,
    request: BaseModel,
    *,
    attempts: Path,
    ranks: int = 1,
    threads: int = 0,
    env: Mapping[str, str] | None = None,
    progress: Path | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    on_look: Callable[[Path], None] | None = None,
    keep_open: tuple[int, ...] = (),
    patience: Patience | None = None,
    grace_seconds: float = 0.0,
) -> dict[str, Any]:
    """Runs `python -m MODULE ATTEMPT_FOLDER` on every rank; returns what rank 0 wrote as result.

    Whatever ends this call, KeyboardInterrupt and a cancel raised in this thread included, the
    job's processes are gone when it returns. What interrupts it once has the job save first, where
    it can; the interruption comes with `Stopped` as its cause then. What interrupts it again, while
    it waits for that and not within half a second, ends the job at once. The child inherits the
    working folder.

    Args:
        module: ends in `processes.child.main`.
        request: what the job is given.
        attempts: gets a fresh folder for this attempt; kept, also after a failure.
        ranks: processes on this machine; with more than one the job must join them by itself.
        threads: CPU threads of each rank; 0: its share of this machine's cores.
        env: goes over this process's environment and over what is set here.
        progress: JSON lines that the job appends to and may rewrite; see `RowFollower`.
        on_progress: called with each new row, in this thread. What it raises stops the job.
        on_look: called with the attempt's folder a few times a second, in this thread.
        keep_open: file descriptors that the supervisor inherits, as of a lock that has to outlive
            this process until the job's processes are gone too.
        patience: how long a rank may give no `processes.child.beat`; None: for ever.
        grace_seconds: how long a job that is asked to save and end may take for it.

    Raises:
        Stopped: it was asked to save and end, by somebody else than this thread.
        MixnetError: the type that the job raised.
        JobFailed: it was killed or hung (retryable), or failed in a way that it did not foresee.
        MachineError: the folder cannot be written, msrun is not installed.
    """
    attempt = _new_attempt(attempts)
    write_json(attempt / child.REQUEST, request.model_dump(mode="json"))
    follower = RowFollower(progress) if progress is not None and on_progress is not None else None

    def report() -> None:
        if follower is not None and on_progress is not None:
            for row in follower.rows():
                on_progress(row)

    with ExitStack() as stack:
        command = [sys.executable, "-m", module, str(attempt)]
        if ranks > 1:
            port = stack.enter_context(held_port())
            command = _msrun(module, attempt, ranks=ranks, port=port)
        environment = _environment(attempt, ranks=ranks, threads=threads, env=env)
        with os_errors_explained(attempt / LOG):
            log = stack.enter_context((attempt / LOG).open("wb"))
        kills, watchdog, hang = OomKills(), Watchdog(attempt, ranks, patience), None
        interruption: BaseException | None = None
        process = stack.enter_context(
            _supervised(command, environment, log, attempt, keep_open, grace_seconds)
        )
        try:
            while process.poll() is None:
                report()
                if on_look is not None:
                    on_look(attempt)
                hang = watchdog.look()
                if hang is not None:
                    watchdog.dump_stacks()
                    break
                if _has_ended(process, attempt, ranks):
                    break
        except BaseException as error:
            if isinstance(error, Exception) or grace_seconds <= 0:
                raise
            _let_save(process, attempt, error, ranks=ranks, seconds=grace_seconds)
            interruption = error
    if interruption is None:
        report()
    # Of processes that were killed while they wrote there.
    remove_left_asides(attempt)
    code = process.returncode
    # What hangs at its exit, with its result written, has done its work.
    done = (code == 0 or hang is not None) and (attempt / child.RESULT).exists()
    if done and interruption is None:
        result: dict[str, Any] = read_json(attempt / child.RESULT)
        return result
    if hang is not None and interruption is None:
        raise stalled(module, attempt, hang, ranks=ranks)
    stopped = watchdog.stopped()
    cause = cause_of(module, attempt, code, ranks=ranks, kills=kills, stopped=stopped)
    if interruption is not None:
        raise interruption from (cause if isinstance(cause, Stopped) else None)
    wish = stopping.requested(attempt)
    by_itself = code != supervisor.STOPPED_BY_ITS_CALLER or failed_worker(attempt) is not None
    # What was interrupted may blame something else, as MindSpore a file that it was reading.
    in_vain = cause.retryable or not by_itself
    if wish is not None and in_vain and not isinstance(cause, Stopped):
        raise stopping.unsaved(wish, cause if by_itself else None)
    raise cause


def _has_ended(process: subprocess.Popen[bytes], attempt: Path, ranks: int) -> bool:
    """Waits a moment for the job's end."""
    # msrun has killed the other workers then, but waits 30 s for its scheduler to notice.
    if ranks > 1 and failed_worker(attempt) is not None:
        return True
    with suppress(subprocess.TimeoutExpired):
        process.wait(_POLL_SECONDS)
    return process.poll() is not None


def _let_save(
    process: subprocess.Popen[bytes],
    attempt: Path,
    interruption: BaseException,
    *,
    ranks: int,
    seconds: float,
) -> None:
    """Has an interrupted job save what it did; returns when it has, or can not."""
    reason = "Ctrl-C" if isinstance(interruption, KeyboardInterrupt) else "SIGTERM"
    began = time.monotonic()
    while True:
        try:
            if process.poll() is not None or not stopping.ask(attempt, reason):
                return
            break
        except MachineError:
            # Where nothing can be written nothing can be saved.
            return
        except BaseException as again:
            _raise_another_wish(again, began)
    log.warning(
        "%s: saving after this step, for %g s at most; once more ends it at once", reason, seconds
    )
    while time.monotonic() < began + seconds:
        try:
            if _has_ended(process, attempt, ranks):
                return
        except BaseException as again:
            _raise_another_wish(again, began)


def _raise_another_wish(again: BaseException, began: float) -> None:
    """Raises what interrupts again, unless it is the first wish, told by another signal."""
    if isinstance(again, Exception) or time.monotonic() - began > _ONE_WISH_SECONDS:
        raise again


def _new_attempt(attempts: Path) -> Path:
    """Makes the next free `attempt-NNN`; two callers never get the same."""
    with os_errors_explained(attempts):
        attempts.mkdir(parents=True, exist_ok=True)
        newest = newest_attempt(attempts)
        for number in count(int(newest.name[8:]) + 1 if newest else 1):
            attempt = attempts.absolute() / f"attempt-{number:03d}"
            try:
                attempt.mkdir()
            except FileExistsError:
                continue
            return attempt
    raise AssertionError("unreachable")


def _msrun(module: str, attempt: Path, *, ranks: int, port: int) -> list[str]:
    """Returns the command of MindSpore's launcher beside this interpreter, one worker per rank.

    Raises:
        MachineError: msrun is not installed there.
    """
    msrun = _folder_of_python() / "msrun"
    # msrun runs an interpreter by these names only, found on PATH; all else is a script to it.
    names = [name for name in ("python", "python3") if (_folder_of_python() / name).exists()]
    if not os.access(msrun, os.X_OK) or not names:
        raise MachineError(
            f"{ranks} ranks need {msrun} with python beside it, but they are not there: "
            "install mindspore into this environment, or set devices.ranks to 1"
        )
    return [
        str(msrun),
        f"--worker_num={ranks}",
        f"--local_worker_num={ranks}",
        "--master_addr=127.0.0.1",
        f"--master_port={port}",
        # Without it msrun returns at once, and 0.
        "--join=True",
        f"--log_dir={attempt / WORKERS}",
        # A rank that does not exist: the default starts one `tail -f` per worker.
        f"--tail_worker_log={ranks}",
        names[0],
        "-m",
        module,
        str(attempt),
    ]


def _environment(
    attempt: Path, *, ranks: int, threads: int, env: Mapping[str, str] | None
) -> dict[str, str]:
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
        "OMP_NUM_THREADS": str(threads or max(1, cores // ranks)),
        # Threads that spin between operations steal time from MindSpore's own pool.
        "OMP_WAIT_POLICY": "PASSIVE",
        **(env or {}),
        ATTEMPT_VARIABLE: str(attempt),
    }
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = f"{_folder_of_python()}{os.pathsep}{path}"
    return environment


def _folder_of_python() -> Path:
    # Not resolved: a virtual environment's python is a link out of it.
    return Path(sys.executable).absolute().parent


@contextmanager
def held_port() -> Iterator[int]:
    """Finds a free port for msrun's scheduler, which no other call gets while the block runs.

    It stays bound here without listening, which keeps the kernel from handing it out again. Both
    ends set SO_REUSEADDR, so the scheduler can still listen on it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def _supervised(
    command: list[str],
    environment: dict[str, str],
    log: IO[bytes],
    attempt: Path,
    keep_open: tuple[int, ...],
    grace_seconds: float,
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the command below a supervisor; at the end of the block nothing of it runs."""
    process = subprocess.Popen(
        # As an isolated script: what lies in the working folder or in PYTHONPATH cannot break it.
        [
            *(sys.executable, "-I", "-S", str(supervisor.__file__)),
            *stopping.supervisor_options(attempt, grace_seconds),
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
            _kill_marked(attempt)


def _kill_marked(attempt: Path) -> None:
    """Kills what carries the attempt's folder in its environment.

    Something is left if the supervisor was killed: a job's own children then outlive it.
    """
    deadline = time.monotonic() + _SWEEP_SECONDS
    while time.monotonic() < deadline:
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(ATTEMPT_VARIABLE) == str(attempt):
                    process.kill()
                    left.append(process)
        if not left:
            return
        psutil.wait_procs(left, timeout=0.5)
