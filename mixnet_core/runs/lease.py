"""Who leads a run's training over several hosts: a lease in the run's folder, which all share.

    hosts/lease-000003/     the third: whoever makes the next number has it from then on
        owner.json          who leads, and what it says; made where nothing is, or not at all
        pulse-0             the leader's sign of life; see `runs.pulse`
        host-1.json         what another host says of itself, and pulse-1, its sign of life

What a host has to say it says in one file, which it replaces: of a name that was not there a
network's disk may go on to say so for a minute, while a file that is there is opened as it is now.

    owner.json     "attempt", "plan": the newest attempt, from 1, which hosts make it, and where
                   "over": whether that is over
                   "end": how it all ended; nobody has this lease any more
    host-1.json    "session": another after each start; "done": attempts that it is through with
                   "error": of the newest of those; "left": why the process ended

A lease is lost when its pulse has stood still for a limit by the clock of whoever waits for it. It
is never taken away: the next one is made, which only one host can, and the former leader sees that
there is a next one. The run's lock (`records.exclusive`) is held as well; on many networks' disks
it does not reach other hosts.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixnet_core.errors import InputError, IntegrityError, MachineError, TransientError
from mixnet_core.runs.pulse import Pulse, PulseWatch
from mixnet_core.runs.records import LOCK_SECONDS
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import os_errors_explained, read_json, write_json

_PREFIX = "lease-"
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Lease:
    """Names the files of a lease.

    Attributes:
        folder: its own.
        number: from 1.
    """

    folder: Path
    number: int

    @property
    def owner(self) -> Path:
        """Returns the path of who has it."""
        return self.folder / "owner.json"

    @property
    def has_ended(self) -> bool:
        """Tells whether its owner says that nobody has it any more."""
        return said_in(self.owner).get("end") is not None

    def pulse(self, host: int) -> Path:
        """Returns the path of a host's sign of life."""
        return self.folder / f"pulse-{host}"

    def host(self, host: int) -> Path:
        """Returns the path of what a host says of itself."""
        return self.folder / f"host-{host}.json"

    @property
    def next(self) -> Lease:
        """Returns the one that would come after it."""
        return lease(self.folder.parent, self.number + 1)

    @property
    def is_lost(self) -> bool:
        """Tells whether another host leads by now."""
        return self.next.owner.exists()


def lease(hosts: Path, number: int) -> Lease:
    """Returns the lease of a number, whether or not it was made."""
    return Lease(hosts / f"{_PREFIX}{number:06d}", number)


def newest_lease(run: RunDir) -> Lease | None:
    """Returns the newest lease of a run; None where there never was one."""
    numbers = []
    for path in run.hosts.glob(f"{_PREFIX}*/owner.json"):
        digits = path.parent.name.removeprefix(_PREFIX)
        if digits.isdigit():
            numbers.append(int(digits))
    return lease(run.hosts, max(numbers)) if numbers else None


@contextmanager
def lease_held(
    run: RunDir,
    told: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    lost_seconds: float,
    wait_seconds: float = LOCK_SECONDS,
) -> Iterator[Lease]:
    """Holds the run against other hosts; its pulse beats until the block ends.

    The block says how it ends: if it does not, others wait until the pulse has stood still.

    Args:
        told: what the leader was told, for the other hosts: JSON values.
        say: is told what it waits for, in a line.
        lost_seconds: a lease whose pulse stands still for so long is lost.
        wait_seconds: how long to wait for a leader that lives.

    Raises:
        TransientError: another host leads the run, and lives.
        MachineError: the folder cannot be written.
    """
    held = _next_free(run, told, say, lost_seconds, wait_seconds)
    with Pulse(held.pulse(0)):
        _remove_older(run, held)
        yield held


def _next_free(
    run: RunDir,
    told: Mapping[str, Any],
    say: Callable[[str], None],
    lost_seconds: float,
    wait_seconds: float,
) -> Lease:
    watched: Lease | None = None
    deadline = time.monotonic() + wait_seconds
    while True:
        newest = newest_lease(run)
        if newest is not None and not newest.has_ended:
            if newest != watched:
                watched, watch = newest, PulseWatch(newest.pulse(0))
                say(f"waiting for {owner_of(newest)}, which leads run {run.name} or did")
            if watch.silent() < lost_seconds:
                if watch.has_grown and time.monotonic() > deadline:
                    raise TransientError(
                        f"{owner_of(newest)} leads run {run.name}: wait until it has ended, or "
                        "choose another run name"
                    )
                time.sleep(_POLL_SECONDS)
                continue
        made = lease(run.hosts, newest.number + 1 if newest else 1)
        if _made(made, told):
            return made


def _made(made: Lease, told: Mapping[str, Any]) -> bool:
    """Makes a lease; False where another host was first."""
    owner = {"host": socket.gethostname(), "pid": os.getpid(), **told}
    with os_errors_explained(made.owner):
        made.folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(made.owner, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(handle, json.dumps(owner).encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
    return True


def _remove_older(run: RunDir, held: Lease) -> None:
    # Not the one before: its hosts may not have seen yet how it ended.
    for path in run.hosts.glob(f"{_PREFIX}*"):
        digits = path.name.removeprefix(_PREFIX)
        if digits.isdigit() and int(digits) < held.number - 1:
            shutil.rmtree(path, ignore_errors=True)


def owner_of(held: Lease) -> str:
    """Names who has a lease, for a message."""
    said = said_in(held.owner)
    return f"host {said.get('host', '?')} (pid {said.get('pid', '?')})"


def said_in(path: Path) -> dict[str, Any]:
    """Returns what stands in one of a lease's files; {} where there is none, or not all of it."""
    with suppress(InputError, IntegrityError, MachineError):
        said = read_json(path)
        if isinstance(said, dict):
            return said
    return {}


def say_in(path: Path, said: Mapping[str, Any]) -> None:
    """Writes one of a lease's files.

    Raises:
        MachineError: it cannot be written.
    """
    write_json(path, dict(said))
