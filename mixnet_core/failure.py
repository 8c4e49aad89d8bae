"""What a failed attempt raises, read from what its processes left in the attempt's folder."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from mixnet_core import child, errors
from mixnet_core.errors import MixnetError, StageFailed
from mixnet_core.files import read_json

LOG = "log.txt"
WORKERS = "workers"

_WORKER_FAILED = re.compile(r"Worker process (\d+) exit with exception\. Error code: (-?\d+)")
_LOG_TAIL_BYTES = 1 << 16


def cause_of(module: str, attempt: Path, code: int, *, ranks: int) -> MixnetError:
    """The error a rank raised, as the same type; else StageFailed from the exit codes and the logs.

    Args:
        code: the supervisor's exit code; negative if a signal ended the supervisor.
    """
    failures = [read_json(path) for path in attempt.glob("failure-*.json")]
    # Expected ones first, then the earliest: a rank that lost its peer fails too, later.
    failures.sort(key=lambda failure: (not failure["expected"], failure["time"]))
    if failures and failures[0]["expected"]:
        return _same_error(failures[0])
    rank, code = _ended(attempt, code, ranks=ranks)
    log = _log_of(attempt, rank, ranks=ranks)
    where = f"{module} on rank {rank}" if rank else module
    if code < 0:
        name = _signal_name(-code)
        hint = " (out of memory is a common cause)" if -code == signal.SIGKILL else ""
        return StageFailed(
            f"{where} was ended by {name}{hint}: run it again; its log is {log}", retryable=True
        )
    if failures:
        first = failures[0]
        return StageFailed(
            f"{module} raised {first['type']} on rank {first['rank']}: {first['message']}; "
            f"the traceback is in {_log_of(attempt, first['rank'], ranks=ranks)}",
            retryable=False,
        )
    if code == 0:
        return StageFailed(
            f"{module} ended with exit code 0 but left no {child.RESULT}: "
            f"it must end in child.main; its log is {log}",
            retryable=False,
        )
    return StageFailed(
        f"{where} ended with exit code {code}, last line {_last_line(log)!r}: see {log}",
        retryable=False,
    )


def failed_worker(attempt: Path) -> tuple[int, int] | None:
    """Process id and exit code of the worker that msrun saw fail; negative for a signal."""
    found = _WORKER_FAILED.search(_tail(attempt / LOG))
    return (int(found[1]), int(found[2])) if found else None


def _same_error(failure: dict[str, Any]) -> MixnetError:
    kind = getattr(errors, failure["type"], None)
    if isinstance(kind, type) and issubclass(kind, MixnetError) and kind is not StageFailed:
        error = kind(failure["message"])
        error.retryable = failure["retryable"]
        return error
    return StageFailed(failure["message"], retryable=failure["retryable"])


def _ended(attempt: Path, code: int, *, ranks: int) -> tuple[str, int]:
    """The rank that failed and its exit code, negative for a signal; rank "" if it cannot be told.

    msrun ends with 1 whatever a worker died of, and names it by its process id in the log.
    """
    worker = failed_worker(attempt) if ranks > 1 else None
    if worker is None:
        # Above 128: the supervisor's form of a signal.
        return "", 128 - code if code > 128 else code
    pid, code = worker
    for rank in range(ranks):
        process = attempt / child.process_file(str(rank))
        if process.exists() and read_json(process) == pid:
            return str(rank), code
    return "", code


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _log_of(attempt: Path, rank: str, *, ranks: int) -> Path:
    if ranks == 1 or not rank:
        return attempt / LOG
    name = "scheduler.log" if rank == child.SCHEDULER else f"worker_{rank}.log"
    return attempt / WORKERS / name


def _last_line(log: Path) -> str:
    """The last that says something: MindSpore writes some chatter whatever GLOG_v is."""
    lines = [line.strip() for line in _tail(log).splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("[INFO]")), "")


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
