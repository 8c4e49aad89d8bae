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
        log-host-1.txt                its msrun's on another host, of several
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mixnet_core.errors import MachineError, Stopped
from mixnet_core.processes import child, stopping, supervisor
from mixnet_core.processes.child import ATTEMPT_VARIABLE
from mixnet_core.processes.failure import cause_of, failed_worker, stalled
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.msrun import held_port, msrun_command
from mixnet_core.processes.oom_kills import OomKills
from mixnet_core.processes.row_follower import RowFollower
from mixnet_core.processes.supervised import environment_of, supervised
from mixnet_core.processes.watchdog import Patience, Watchdog
from mixnet_core.runs.run_dir import newest_attempt
from mixnet_core.storage.asides import remove_left_asides
from mixnet_core.storage.files import os_errors_explained, read_json, write_json

__all__ = ["ATTEMPT_VARIABLE", "HostRanks", "Patience", "held_port", "join_job", "run_job"]

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
# One wish may come as several signals: timeout(1) sends one to its child and one to the group, a
# terminal that closes sends one by the kernel and one by the shell.
_ONE_WISH_SECONDS = 0.5


def run_job(
    module: str,
    request: BaseModel,
    *,
    attempts: Path,
    ranks: int | HostRanks = 1,
    threads: int = 0,
    env: Mapping[str, str] | None = None,
    progress: Path | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    on_start: Callable[[Path, HostRanks], None] | None = None,
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
        ranks: processes on this machine; with more than one the job must join them by itself. Of
            several hosts: which of their ranks are host 0's, which this is.
        threads: CPU threads of each rank; 0: its share of this machine's cores.
        env: goes over this process's environment and over what is set here.
        progress: JSON lines that the job appends to and may rewrite; see `RowFollower`.
        on_progress: called with each new row, in this thread. What it raises stops the job.
        on_start: called with the attempt's folder, and the ranks with their port, before they
            start.
        on_look: called with the attempt's folder a few times a second, in this thread. What it
            raises stops the job.
        keep_open: file descriptors that the supervisor inherits, as of a lock that has to outlive
            this process until the job's processes are gone too.
        patience: how long a rank may give no `processes.child.beat`; None: for ever.
        grace_seconds: how long a job that is asked to save and end may take for it.

    Raises:
        Stopped: it was asked to save and end, by somebody else than this thread.
        MixnetError: the type that the job raised.
        JobFailed: it was killed or hung (retryable), or failed in a way that it did not foresee.
        MachineError: the folder cannot be written, msrun is not installed.
        TransientError: the port that several hosts were told is in use.
    """
    attempt = _new_attempt(attempts)
    write_json(attempt / child.REQUEST, request.model_dump(mode="json"))
    follower = RowFollower(progress) if progress is not None and on_progress is not None else None

    def report() -> None:
        if follower is not None and on_progress is not None:
            for row in follower.rows():
                on_progress(row)

    with ExitStack() as stack:
        own = ranks if isinstance(ranks, HostRanks) else HostRanks(each=ranks)
        if own.count > 1:
            own = replace(own, port=stack.enter_context(held_port(own.address, own.port)))
        if on_start is not None:
            on_start(attempt, own)
        _run(
            module,
            attempt,
            own,
            threads=threads,
            env=env,
            report=report,
            on_look=on_look,
            keep_open=keep_open,
            patience=patience,
            grace_seconds=grace_seconds,
        )
    result: dict[str, Any] = read_json(attempt / child.RESULT)
    return result


def join_job(
    module: str,
    attempt: Path,
    ranks: HostRanks,
    *,
    threads: int = 0,
    env: Mapping[str, str] | None = None,
    on_look: Callable[[Path], None] | None = None,
    keep_open: tuple[int, ...] = (),
    patience: Patience | None = None,
    grace_seconds: float = 0.0,
    counts_alone: bool = False,
) -> None:
    """Runs another host's ranks of an attempt that host 0 made; returns when they are done.

    What interrupts it has the ranks of all hosts save and end, as `run_job`.

    Args:
        module: as host 0's.
        attempt: the attempt's folder, on a disk that all hosts share.
        ranks: which are this host's, with the port of host 0.
        threads, env, on_look, keep_open, patience, grace_seconds: as `run_job`.
        counts_alone: whether these ranks have work of their own, which rank 0's result says nothing
            of; else what has its result has been computed by all.

    Raises:
        MixnetError: as `run_job`.
    """
    _run(
        module,
        attempt,
        ranks,
        threads=threads,
        env=env,
        report=lambda: None,
        on_look=on_look,
        keep_open=keep_open,
        patience=patience,
        grace_seconds=grace_seconds,
        counts_alone=counts_alone,
    )


def _run(
    module: str,
    attempt: Path,
    ranks: HostRanks,
    *,
    threads: int,
    env: Mapping[str, str] | None,
    report: Callable[[], None],
    on_look: Callable[[Path], None] | None,
    keep_open: tuple[int, ...],
    patience: Patience | None,
    grace_seconds: float,
    counts_alone: bool = False,
) -> None:
    """Runs this host's ranks; returns if they have done their work, else raises as `run_job`."""
    with ExitStack() as stack:
        command = [sys.executable, "-m", module, str(attempt)]
        if ranks.count > 1:
            command = msrun_command(module, attempt, ranks)
        environment = environment_of(attempt, ranks, threads=threads, env=env)
        with os_errors_explained(ranks.log(attempt)):
            printed = stack.enter_context(ranks.log(attempt).open("wb"))
        watchdog = Watchdog(attempt, ranks.count, patience, here=ranks.here)
        kills, hang = OomKills(), None
        interruption: BaseException | None = None
        process = stack.enter_context(
            supervised(command, environment, printed, attempt, ranks, keep_open, grace_seconds)
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
    # Of processes that were killed while they wrote there; on host 0, whose folder it is.
    if ranks.leads:
        remove_left_asides(attempt)
    code = process.returncode
    # What hangs or crashes at its exit, with its result written, has done its work. MindSpore's
    # scheduler then misses it, and says so half a minute later.
    done = (attempt / child.RESULT).exists() and not any(attempt.glob("failure-[0-9]*.json"))
    if not ranks.leads:
        # Host 0 may not have written it yet.
        done = code == 0 or (done and not counts_alone)
    if done and interruption is None:
        if code != 0 and hang is None:
            log.warning("%s ended with exit code %d, after its result was written", module, code)
        return
    if hang is not None and interruption is None:
        raise stalled(module, attempt, hang, ranks=ranks.count)
    cause = cause_of(
        module,
        attempt,
        code,
        ranks=ranks.count,
        kills=kills,
        stopped=watchdog.stopped(),
        host=ranks,
    )
    if interruption is not None:
        raise interruption from (cause if isinstance(cause, Stopped) else None)
    wish = stopping.requested(attempt)
    failed = failed_worker(attempt, ranks)
    by_itself = code != supervisor.STOPPED_BY_ITS_CALLER or failed is not None
    # What was interrupted may blame something else, as MindSpore a file that it was reading.
    in_vain = cause.retryable or not by_itself
    if wish is not None and in_vain and not isinstance(cause, Stopped):
        raise stopping.unsaved(wish, cause if by_itself else None)
    raise cause


def _has_ended(process: subprocess.Popen[bytes], attempt: Path, ranks: HostRanks) -> bool:
    """Waits a moment for the job's end."""
    # msrun has killed the other workers then, but waits 30 s for its scheduler to notice.
    if ranks.count > 1 and failed_worker(attempt, ranks) is not None:
        return True
    with suppress(subprocess.TimeoutExpired):
        process.wait(_POLL_SECONDS)
    return process.poll() is not None


def _let_save(
    process: subprocess.Popen[bytes],
    attempt: Path,
    interruption: BaseException,
    *,
    ranks: HostRanks,
    seconds: float,
) -> None:
    """Has an interrupted job save what it did; returns when it has, or can not."""
    reason = "Ctrl-C" if isinstance(interruption, KeyboardInterrupt) else "SIGTERM"
    if not ranks.leads:
        reason += f" on host {ranks.host}"
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
