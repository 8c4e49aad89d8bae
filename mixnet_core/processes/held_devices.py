"""Devices of this host, each held by one job at a time through a lock of the kernel.

Whatever a server counts, and whoever started it: a job that computes on accelerators takes as many
of the host's devices as it has ranks, and sees no others. A device is a file in a folder that all
users of the host share; who holds an flock on it holds the device.

    /tmp/mixnet-devices/            $MIXNET_DEVICE_LOCKS; containers that share devices share it too
        Ascend-0 ... Ascend-7       locked while held; JSON for people: work, pid, since
        Ascend                      locked while somebody chooses, which takes no time

The supervisor of the job inherits the locks (`processes.launch.run_job`, `keep_open`): they last
until the job's processes are gone, even if the caller is killed. Nothing has to be cleaned up after
a crash or a reboot, because the kernel lets go of the locks of what is gone.

All devices or none: nobody holds some while waiting for more, so no two jobs wait for each other.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import refuse_credentials, shown

FOLDER_VARIABLE = "MIXNET_DEVICE_LOCKS"
# Device numbers of this host, as "0,1,2,3", where its device files do not tell.
DEVICES_VARIABLE = "MIXNET_DEVICES"

# Not /dev/shm, which a user's last logout may clear, nor /run/lock, where not everybody may write.
_FOLDER = "/tmp/mixnet-devices"
_LOOK_SECONDS = 1.0
_SAY_SECONDS = 900.0


@dataclass(frozen=True)
class _Kind:
    """Says where a kind of device shows itself.

    Attributes:
        files: pattern of its device files, whose numbers are the host's, in a container too.
        variable: which of them a process sees, counted from 0 among those that are there. It limits
            the choice where a user has set it, and tells the job what it got.
    """

    files: str
    variable: str


_KINDS: Mapping[str, _Kind] = {
    # The names of the files and the variable, whose numbers are logical ids: CANN's documents. In a
    # container with the host's devices 3 to 7 these are 0 to 4 (vllm-project/vllm-ascend #16256);
    # an id that is too great ends the list. MindSpore sorts them
    # (`mindspore.runtime.thread_bind_core`) and counts its devices from 0 among them.
    "Ascend": _Kind("davinci", "ASCEND_RT_VISIBLE_DEVICES"),
    "GPU": _Kind("nvidia", "CUDA_VISIBLE_DEVICES"),
}


@dataclass(frozen=True)
class HeldDevices:
    """Names the devices that a job may use; none on a CPU.

    Attributes:
        numbers: as the host numbers them, in order.
        handles: file descriptors of the locks, for `run_job`'s `keep_open`.
        environment: for `run_job`'s `env`.
    """

    numbers: tuple[int, ...] = ()
    handles: tuple[int, ...] = ()
    environment: Mapping[str, str] | None = None


def devices_here(target: str, dev: Path = Path("/dev")) -> tuple[int, ...]:
    """Returns the host's numbers of the devices that a run may take, in order.

    Args:
        target, dev: as `devices_held`; no CPU.

    Raises:
        InputError, MachineError: as `devices_held`.
    """
    return tuple(_choice(_KINDS[target], dev))


def device_files(target: str, dev: Path = Path("/dev")) -> str:
    """Names the files of a kind of devices, as for a message.

    Args:
        target, dev: as `devices_held`; no CPU.
    """
    return f"{dev}/{_KINDS[target].files}*"


@contextmanager
def devices_held(
    target: str,
    count: int,
    work: str,
    say: Callable[[str], None],
    *,
    dev: Path = Path("/dev"),
    wait_seconds: float | None = None,
) -> Iterator[HeldDevices]:
    """Holds free devices of this host for the block; waits until there are as many.

    While it waits it can be interrupted. Who waits longest is not served first.

    Args:
        target: as `recipe.Devices.target`; "CPU" holds nothing.
        count: how many devices.
        work: what they are for, in the words of a message to others who wait.
        say: is told what it waits for, at once and then seldom, and what it got.
        dev: where device files stand.
        wait_seconds: at most; None: for ever.

    Raises:
        InputError: a variable that names devices does not hold numbers.
        MachineError: the host has fewer devices, or the locks' folder cannot be used.
        TransientError: others hold them for longer than that.
    """
    if target == "CPU":
        yield HeldDevices()
        return
    kind = _KINDS[target]
    seen_as = _choice(kind, dev)
    numbers = tuple(seen_as)
    if len(numbers) < count:
        raise MachineError(
            f"{count} {target} devices are wanted and this host shows {_listed(numbers)}: lower "
            f"devices.ranks, or set {kind.variable} or {DEVICES_VARIABLE} to the devices' numbers"
        )
    folder = _folder()
    held = _taken(folder, target, numbers, count)
    began = said_at = time.monotonic()
    if not held:
        say(_waits(folder, target, numbers, count))
    while not held:
        if wait_seconds is not None and time.monotonic() > began + wait_seconds:
            said = _waits(folder, target, numbers, count)
            raise TransientError(f"{said}: not within {wait_seconds:g} s, try again later")
        time.sleep(_LOOK_SECONDS)
        held = _taken(folder, target, numbers, count)
        if not held and time.monotonic() >= said_at + _SAY_SECONDS:
            said_at = time.monotonic()
            say(_waits(folder, target, numbers, count))
    try:
        for handle in held.values():
            _note(handle, work)
        got = ",".join(map(str, held))
        say(f"on {target} device{'s' if count > 1 else ''} {got}")
        with _kept(folder) as kept:
            yield HeldDevices(
                numbers=tuple(held),
                handles=(*held.values(), kept),
                environment={kind.variable: ",".join(str(seen_as[number]) for number in held)},
            )
    finally:
        _let_go(held)


def _choice(kind: _Kind, dev: Path) -> dict[int, int]:
    """Returns the devices that may be taken, in order: the host's number -> a program's."""
    # Set but empty is what a script leaves that meant to unset it.
    given = os.environ.get(kind.variable, "").strip()
    named = os.environ.get(DEVICES_VARIABLE, "").strip()
    try:
        there = _numbers_of_files(kind, dev)
    except MachineError:
        if not (given or named):
            raise
        there = ()
    if given:
        counted = _numbers(kind.variable, given)
        if there and counted[-1] >= len(there):
            raise InputError(
                f"{kind.variable} names device {counted[-1]}, and {dev} has {len(there)}: expected "
                f"numbers from 0 to {len(there) - 1}, which count those that are there"
            )
        return {there[number] if there else number: number for number in counted}
    hosts = _numbers(DEVICES_VARIABLE, named) if named else there
    return {number: there.index(number) if number in there else number for number in hosts}


def _numbers_of_files(kind: _Kind, dev: Path) -> tuple[int, ...]:
    named = re.compile(rf"{kind.files}(\d+)")
    with os_errors_explained(dev, "read"):
        found = [named.fullmatch(name) for name in os.listdir(dev)]  # noqa: PTH208
    return tuple(sorted(int(match[1]) for match in found if match))


def _numbers(variable: str, given: str) -> tuple[int, ...]:
    parts = [part.strip() for part in given.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,4}", part) for part in parts):
        raise InputError(f"{variable} is {shown(given)!r}: expected device numbers such as 0,1,2,3")
    return tuple(sorted({int(part) for part in parts}))


def _folder() -> Path:
    """Makes the folder of the locks, in which every user of the host may lock and nobody delete."""
    given = os.environ.get(FOLDER_VARIABLE) or _FOLDER
    refuse_credentials(given)
    folder = Path(given).expanduser().absolute()
    try:
        with os_errors_explained(folder):
            with suppress(FileExistsError):
                folder.mkdir(parents=True)
                folder.chmod(0o1777)
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except MachineError as error:
        raise MachineError(f"{error} ({FOLDER_VARIABLE} names it)") from error
    return folder


@contextmanager
def _kept(folder: Path) -> Iterator[int]:
    """Keeps systemd-tmpfiles from ageing the folder: it passes over one that is locked."""
    with os_errors_explained(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield handle
    finally:
        os.close(handle)


def _taken(folder: Path, target: str, numbers: tuple[int, ...], count: int) -> dict[int, int]:
    """Takes `count` of the devices at once.

    Returns:
        Descriptors by device number; empty where fewer are free, or somebody else chooses just now.
    """
    choosing = _locked(folder / target)
    if choosing is None:
        return {}
    held: dict[int, int] = {}
    try:
        for number in numbers:
            if len(held) < count and (handle := _locked(folder / f"{target}-{number}")) is not None:
                held[number] = handle
        if len(held) == count:
            return held
    except BaseException:
        _let_go(held)
        raise
    finally:
        os.close(choosing)
    _let_go(held)
    return {}


def _locked(path: Path) -> int | None:
    """Returns a descriptor that locks a file, made if missing; None where it is locked already."""
    with os_errors_explained(path):
        while True:
            handle = _opened(path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.fstat(handle)
                # Somebody may have removed the file before it was locked: another one is there now.
                with suppress(FileNotFoundError):
                    if os.path.samestat(found, path.lstat()):
                        return handle
                os.close(handle)
            except BlockingIOError:
                os.close(handle)
                return None
            except BaseException:
                os.close(handle)
                raise


def _opened(path: Path) -> int:
    """Opens a file that any user may have made, and makes it so that any user may open it."""
    with suppress(FileNotFoundError):
        # Without O_CREAT, which Linux refuses for another user's file in such a folder
        # (fs.protected_regular).
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    with suppress(FileExistsError):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        os.fchmod(handle, 0o666)
        return handle
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)


def _let_go(held: Mapping[int, int]) -> None:
    # Closed, not unlocked: the job's supervisor may still hold the same lock.
    for handle in held.values():
        os.close(handle)


def _note(handle: int, work: str) -> None:
    """Writes who holds a device; for messages only, so a full disk does not matter."""
    note = {
        "work": work,
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(note).encode() + b"\n", 0)


def _waits(folder: Path, target: str, numbers: tuple[int, ...], count: int) -> str:
    """Says how many devices are wanted, and who holds those that are not free."""
    holders: dict[str, list[int]] = {}
    for number in numbers:
        if (holder := _holder(folder / f"{target}-{number}")) is not None:
            holders.setdefault(holder, []).append(number)
    said = "; ".join(f"{_listed(tuple(held))} held by {who}" for who, held in holders.items())
    return (
        f"waiting for {count} of {target} devices {_listed(numbers)}: {said or 'all just let go'}"
    )


def _holder(path: Path) -> str | None:
    """Says who holds a device; None if nobody does."""
    handle = None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        # Shared, so that two who ask do not take each other for holders.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:
        return _noted(handle) if handle is not None else "somebody else"
    finally:
        if handle is not None:
            os.close(handle)
    return None


def _noted(handle: int) -> str:
    try:
        note = json.loads(os.pread(handle, 4096, 0))
        return f"{shown(str(note['work']))} (pid {int(note['pid'])}, since {note['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "somebody else"


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers)) or "none"
