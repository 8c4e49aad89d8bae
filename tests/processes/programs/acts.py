"""A stage that does what its request names, without MindSpore."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from pydantic import BaseModel

from mixnet_core import errors
from mixnet_core.processes import child
from mixnet_core.processes.stopping import StopRequests

STUBBORN = """
import signal, sys, time
for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(120)
"""


class Act(BaseModel):
    """folder: where a rank says it is ready; rank: the one that acts, the others wait.

    megabytes: what `grow` is allowed, or takes where the kernel ends it.
    """

    name: str
    folder: str = ""
    rank: int = 0
    error: str = ""
    signum: int = 0
    megabytes: int = 0


class Done(BaseModel):
    rank: str
    environment: dict[str, str]


def act(request: Act) -> Done:
    rank = child.current_rank()
    if request.name == "return":
        return Done(rank=rank, environment=dict(os.environ))
    if request.name == "report":
        _report(Path(request.folder))
        return Done(rank=rank, environment={})
    if request.name == "linger":
        _beat_a_few_times()
        atexit.register(_hang)
        return Done(rank=rank, environment={})
    if request.name == "unload":
        # As MindSpore when it is unloaded; rank 0 has more to do than the others.
        time.sleep(1.0 if rank == "0" else 0.0)
        if rank == str(request.rank):
            atexit.register(_crash_in_native_code)
        return Done(rank=rank, environment={})
    if request.name == "stay":
        _stubborn_child()
    if rank == str(request.rank):
        if request.name == "raise":
            raise getattr(errors, request.error)(f"{request.error} of rank {rank}: do this")
        if request.name == "fail":
            raise ValueError(f"unforeseen on rank {rank}\nsecond line")
        if request.name == "diverge":
            raise errors.JobFailed("the loss is not finite: lower the rate", retryable=False)
        if request.name == "exit":
            print("last words", flush=True)  # noqa: T201
            sys.exit(9)
        if request.name == "die":
            os.kill(os.getpid(), request.signum)
        if request.name == "segfault":
            _crash_in_native_code()
        if request.name == "abort":
            ctypes.CDLL(None).abort()
        if request.name == "exhaust":
            limit = request.megabytes << 20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            bytearray(2 * limit)
        if request.name == "grow":
            _grow(request.megabytes)
    if request.name in ("save", "deaf"):
        _step_until_asked(request, rank)
    if request.name == "beat":
        _beat_until_told(request, rank)
        return Done(rank=rank, environment={})
    (Path(request.folder) / f"ready-{rank}").touch()
    time.sleep(120)
    raise AssertionError("nobody ended this stage")


def _report(folder: Path) -> None:
    """Writes the file anew with its first row kept, then a row whenever the last one was seen."""
    rows = folder / "rows.jsonl"
    kept = rows.read_text().splitlines(keepends=True)[:1]
    rows.with_suffix(".new").write_text("".join(kept))
    rows.with_suffix(".new").replace(rows)
    with rows.open("a") as file:
        for number in range(3):
            file.write(json.dumps({"number": number}) + "\n")
            file.flush()
            deadline = time.monotonic() + 30
            while not (folder / f"seen-{number}").exists():
                assert time.monotonic() < deadline, "the row was not reported while the stage ran"
                time.sleep(0.01)
        file.write(json.dumps({"number": 3}) + "\n")


def _crash_in_native_code() -> None:
    ctypes.memset(8, 0, 1)


def _grow(megabytes: int) -> None:
    """Takes memory and writes to every page of it."""
    kept = [bytearray(os.urandom(1 << 20)) for _ in range(megabytes)]
    raise AssertionError(f"{len(kept)} MB were to be had")


def _beat_until_told(request: Act, rank: str) -> None:
    """Steps of 20 ms; `hang` in the folder ends the acting rank's, `end` all, rank 0 after 2 s."""
    folder = Path(request.folder)
    number = 0
    while not (folder / "end").exists():
        number += 1
        if rank == str(request.rank) and (folder / "hang").exists():
            _hang()
        child.beat()
        if number == 10:
            (folder / f"ready-{rank}").touch()
        time.sleep(0.02)
    for _ in range(100 if rank == "0" else 0):
        child.beat()
        time.sleep(0.02)


def _step_until_asked(request: Act, rank: str) -> None:
    """Steps of 20 ms, each only once every rank has begun it; `deaf` looks for requests once."""
    folder, ranks = Path(request.folder), int(os.environ.get("MS_WORKER_NUM", "1"))
    requests, ends, step = StopRequests(int(rank), ranks, "CPU"), False, 0
    while not ends:
        step += 1
        begun = folder / f"step-{step}"
        begun.mkdir(exist_ok=True)
        (begun / rank).touch()
        while len(list(begun.iterdir())) < ranks:
            time.sleep(0.001)
        time.sleep(0.02)
        child.beat()
        if request.name == "save" or step == 1:
            ends = requests.end_after(step)
        if step == 3:
            (folder / f"ready-{rank}").touch()
        # Its last act.
        if rank == str(request.rank) and request.signum and (folder / "die").exists():
            os.kill(os.getpid(), request.signum)
    if rank == "0":
        # As saving does, while the others have nothing to do any more.
        time.sleep(0.5)
    (folder / f"saved-{rank}").write_text(str(step))
    raise requests.stopped(step, folder)


def _beat_a_few_times() -> None:
    for _ in range(4):
        child.beat()
        time.sleep(0.3)


def _hang() -> None:
    time.sleep(120)


def _stubborn_child() -> None:
    """A process in a session of its own that ignores every signal it can, as a data worker may."""
    stubborn = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
    )
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == b"ready\n"


if __name__ == "__main__":
    raise SystemExit(child.main(act, Act))
