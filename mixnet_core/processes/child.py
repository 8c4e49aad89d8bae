"""The inside of a job's process: request.json in, result.json or failure-RANK.json out.

A job's module ends with

    if __name__ == "__main__":
        raise SystemExit(child.main(train, TrainRequest))

and is started by `processes.launch.run_job` as `python -m MODULE ATTEMPT_FOLDER`; by msrun once per
rank and once more as the scheduler, where the job's call of MindSpore's `init()` serves the ranks
and does not return.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from mixnet_core.errors import InputError, MachineError, MixnetError, Stopped
from mixnet_core.processes.supervisor import die_with_parent
from mixnet_core.storage.files import call_between_pieces, read_json, write_json

__all__ = [
    "beat",
    "die_with_parent",
    "failure_file",
    "long_stretch",
    "main",
    "others_wait",
    "process_file",
    "slow_at_first",
    "still_working",
]

# In the environment of every process of an attempt: its folder.
ATTEMPT_VARIABLE = "MIXNET_ATTEMPT"
# Makes a rank write the Python stacks of all its threads to its log, whatever it is busy with.
STACKS_SIGNAL = signal.SIGUSR1
# The time of change, in seconds since 1970, of an alive file after its rank's first beat. Later
# beats set the present time, which is another one wherever the clock stands.
FIRST_BEAT = 0

REQUEST = "request.json"
RESULT = "result.json"
SCHEDULER = "scheduler"

# On a network's disk a sign costs a request.
_SECONDS_BETWEEN_PIECES = 0.2

Request = TypeVar("Request", bound=BaseModel)
T = TypeVar("T")

_SECONDS_FOR_RANK_0 = 60.0
_LOOK_SECONDS = 0.05

_next_piece = 0.0


def main(
    job: Callable[[Request], BaseModel],
    request_type: type[Request],
    argv: Sequence[str] | None = None,
) -> int:
    """Runs a job on the request in the attempt's folder; returns the exit code.

    Rank 0 writes the result. What the job raises goes to the rank's failure file, its traceback to
    the log.

    Args:
        job: called with the request; returns the result.
        request_type: what `request.json` is read as.
        argv: the attempt's folder, and nothing else; `sys.argv[1:]` if absent.

    Returns:
        0, or the exit code of the error's type (`mixnet_core.errors`); 1 for an unforeseen one.
    """
    die_with_parent()
    # A crash in native code then leaves the Python stack in the log, and a hang does when asked.
    faulthandler.enable()
    faulthandler.register(STACKS_SIGNAL, all_threads=True)
    call_between_pieces(still_working)
    arguments = sys.argv[1:] if argv is None else list(argv)
    if len(arguments) != 1:
        sys.stderr.write(f"got {arguments}: expected one argument, an attempt's folder\n")
        return InputError.exit_code
    attempt = Path(arguments[0])
    rank = current_rank()
    try:
        if rank != SCHEDULER:
            write_json(attempt / process_file(rank), os.getpid())
        # As JSON: a recipe in it is strict, and takes a list for a tuple there only.
        request = request_type.model_validate_json(json.dumps(read_json(attempt / REQUEST)))
        result = job(request)
        if rank == "0":
            write_json(attempt / RESULT, result.model_dump(mode="json"))
        _let_rank_0_end(attempt, rank)
        return 0
    except Stopped as stopped:
        # Where one rank fails msrun kills the others: rank 0, which saves, ends last and says so.
        if rank == "0":
            return _failed(attempt, rank, stopped, stopped)
        sys.stderr.write(f"{stopped}\n")
        _let_rank_0_end(attempt, rank)
        return 0
    except MemoryError as error:
        explained = MachineError(
            f"out of memory ({_line(error) or 'MemoryError'}): lower devices.micro_batch or "
            "devices.ranks, or take a machine with more memory; trying again will not help"
        )
        return _failed(attempt, rank, explained, error)
    except Exception as error:
        return _failed(attempt, rank, error, error)


def current_rank() -> str:
    """Returns this process's rank as msrun numbers it: "0" without msrun, SCHEDULER in msrun's own.

    MS_ROLE tells the scheduler apart: its RANK_ID is 0 as well.
    """
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        return SCHEDULER
    return os.environ.get("RANK_ID", "0")


def beat() -> None:
    """Gives a sign of life from a rank's main thread; `processes.watchdog` waits for them.

    Call it once when all is ready for the first step, then after every piece of work that a hung
    rank could not have finished. Between the first call and the second the graph is compiled, so
    until the second one `Patience.first_seconds` applies, and `stall_seconds` after it: what may
    take longer than that later is `still_working` in pieces, or a `long_stretch`.

    A sign is the alive file's time of change. The watchdog looks now and then only, and may have
    missed any number of signs: whether there was only the first one it sees by FIRST_BEAT. The
    file is made beside its place and renamed, so that it is never seen with another time before.

    Takes microseconds and never fails; does nothing outside of an attempt.
    """
    alive = _of_attempt(alive_file)
    if alive is None:
        return
    with suppress(OSError):
        try:
            os.utime(alive)
        except FileNotFoundError:
            aside = f"{alive}.begun"
            os.close(os.open(aside, os.O_WRONLY | os.O_CREAT, 0o644))
            os.utime(aside, (FIRST_BEAT, FIRST_BEAT))
            os.rename(aside, alive)  # noqa: PTH104


def still_working() -> None:
    """Gives a sign of life for a piece of work that is no step, as reading a part of a long file.

    It does not count as the first beat or the second one: what compiles after it keeps its time.
    May be called for every piece, however small.
    """
    global _next_piece
    now = time.monotonic()
    if now >= _next_piece:
        _next_piece = now + _SECONDS_BETWEEN_PIECES
        _touch_if_stepping()


@contextmanager
def long_stretch() -> Iterator[None]:
    """Marks a call that can give no sign of life and may take long: a graph is compiled in it.

    In the block `Patience.first_seconds` applies, as before the first step; a rank that hangs in it
    is found after that.
    """
    with _marked(long_file):
        yield


@contextmanager
def others_wait() -> Iterator[None]:
    """Marks work of this rank that others may have to wait for, silent: the block's signs count.

    As long as it lasts only the ranks in such a block, or in a `long_stretch`, have to give signs.
    """
    with _marked(awaited_file):
        yield


def slow_at_first(items: Iterable[T]) -> Generator[T, None, None]:
    """Yields the items; until the first one is there it is a `long_stretch`.

    Readers open all of a dataset's files for their first image, and threads start.
    """
    rest = iter(items)
    with long_stretch():
        first = list(islice(rest, 1))
    yield from first
    yield from rest


@contextmanager
def _marked(name: Callable[[str], str]) -> Iterator[None]:
    """Has a file stand in the attempt's folder during the block; never fails."""
    mark = _of_attempt(name)
    if mark is None:
        yield
        return
    with suppress(OSError):
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT, 0o644))
    try:
        yield
    finally:
        # In this order: whoever sees no mark any more then sees the sign.
        _touch_if_stepping()
        with suppress(OSError):
            os.unlink(mark)  # noqa: PTH108


def _touch_if_stepping() -> None:
    alive = _of_attempt(alive_file)
    if alive is not None:
        with suppress(OSError):
            if os.stat(alive).st_mtime != FIRST_BEAT:  # noqa: PTH116
                os.utime(alive)


def _of_attempt(name: Callable[[str], str]) -> str | None:
    """Returns the path of this rank's file in the attempt's folder; None outside of an attempt."""
    attempt = os.environ.get(ATTEMPT_VARIABLE)
    return None if attempt is None else f"{attempt}/{name(current_rank())}"


def alive_file(rank: str) -> str:
    """Names the file in an attempt's folder that a rank touches; see `beat`.

    It appears with the rank's first beat. Its time of change is FIRST_BEAT until the second one,
    and then the newest one's.

    Args:
        rank: as `current_rank` returns it.
    """
    return f"alive-{rank}"


def long_file(rank: str) -> str:
    """Names the file that stands in an attempt's folder during a rank's `long_stretch`.

    Args:
        rank: as `current_rank` returns it.
    """
    return f"long-{rank}"


def awaited_file(rank: str) -> str:
    """Names the file that stands in an attempt's folder while others wait for a rank.

    Args:
        rank: as `current_rank` returns it.
    """
    return f"awaited-{rank}"


def failure_file(rank: str) -> str:
    """Names the file in an attempt's folder that says what a rank raised.

    Args:
        rank: as `current_rank` returns it.
    """
    return f"failure-{rank}.json"


def process_file(rank: str) -> str:
    """Names the file in an attempt's folder that holds a rank's process id.

    msrun names a worker that failed by nothing else.

    Args:
        rank: as `current_rank` returns it.
    """
    return f"process-{rank}.json"


def _let_rank_0_end(attempt: Path, rank: str) -> None:
    """Has another rank wait, before it exits, until rank 0 has said how it ended.

    MindSpore 2.10 may crash while it is unloaded, seen on ranks that are not 0, and msrun kills all
    ranks when one crashes: what rank 0 was still saving would be lost.
    """
    if rank in ("0", SCHEDULER):
        return
    until = time.monotonic() + _SECONDS_FOR_RANK_0
    ends = attempt / RESULT, attempt / failure_file("0")
    while time.monotonic() < until and not any(end.exists() for end in ends):
        _touch_if_stepping()
        time.sleep(_LOOK_SECONDS)


def _failed(attempt: Path, rank: str, error: Exception, cause: Exception) -> int:
    """Leaves what `processes.launch` raises again; returns the exit code, even if it cannot."""
    traceback.print_exception(type(cause), cause, cause.__traceback__)
    expected = isinstance(error, MixnetError)
    code = error.exit_code if isinstance(error, MixnetError) else 1
    failure: dict[str, Any] = {
        "type": type(error).__name__,
        "message": _line(error),
        "expected": expected,
        "retryable": error.retryable if isinstance(error, MixnetError) else False,
        "exit_code": code,
        # What the error says besides its message, as `errors.Diverged`.
        "facts": getattr(error, "facts", None),
        "rank": rank,
        "time": time.time(),
    }
    try:
        write_json(attempt / failure_file(rank), failure)
    except MachineError as unwritten:
        sys.stderr.write(f"{unwritten}\n")
    return code


def _line(error: BaseException) -> str:
    """Returns the first line that says something: MindSpore's messages run over many."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line.strip("- ")), "")
