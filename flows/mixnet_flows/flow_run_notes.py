"""Which flow runs live on this host: a file each, locked by its process for as long as it lives.

    ~/.cache/mixnet/flow-runs/HOST/SERVER/ID     SERVER: a digest of the API's URL

Only the kernel lets go of the lock, when the process is gone, however it ended. So a file that is
not locked is of a process that is gone, whatever the server believes, and after a reboot too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from prefect.settings import PREFECT_API_URL

from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.user_cache import cache_folder

# Of this process's own flow runs; open until it ends.
_held: dict[UUID, int] = {}


@dataclass(frozen=True)
class Note:
    """Describes a flow run that a process of this host works on, or worked on.

    Attributes:
        pid: the process; 0 where the note was not written in full.
        run_count: how often the flow run had begun then, as the server counts: one that has begun
            more often since did so elsewhere. 0 as above.
        alive: whether it lives.
        cancelled: whether the process ended itself because the run was called Cancelled.
    """

    flow_run: UUID
    pid: int
    run_count: int
    alive: bool
    cancelled: bool


def notes_folder() -> Path:
    """Makes and returns the folder for flow runs of the server that Prefect is set to, here.

    Raises:
        MachineError: it cannot be made.
    """
    server = hashlib.sha256(str(PREFECT_API_URL.value()).encode()).hexdigest()[:12]
    # A home folder may be shared by many hosts.
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()) or "host"
    folder = cache_folder("flow-runs") / host / server
    with os_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def hold_note(flow_run: UUID, run_count: int) -> None:
    """Notes that this process works on a flow run, until it ends; waits while another one does.

    Args:
        run_count: as `Note`.

    Raises:
        MachineError: the note cannot be written.
    """
    if flow_run in _held:
        return
    path = notes_folder() / str(flow_run)
    with os_errors_explained(path):
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, path):
                break
            # Removed while this process waited for it.
            os.close(handle)
        _held[flow_run] = handle
    _write(handle, run_count, cancelled=False)


def change_note(flow_run: UUID, run_count: int, *, cancelled: bool = False) -> None:
    """Writes this process's note anew.

    Args:
        run_count, cancelled: as `Note`.
    """
    if flow_run in _held:
        _write(_held[flow_run], run_count, cancelled=cancelled)


@contextmanager
def taken_notes(folder: Path) -> Iterator[tuple[Note, ...]]:
    """Yields the notes of a folder; those of processes that are gone are locked for the block.

    So nobody begins to work on such a run before the block has ended.
    """
    handles: list[int] = []
    try:
        with os_errors_explained(folder, "read"):
            paths = sorted(path for path in folder.iterdir() if _id(path) is not None)
        found = []
        for path in paths:
            with suppress(FileNotFoundError), os_errors_explained(path, "read"):
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                handles.append(handle)
                found.append(_read(path, handle))
        yield tuple(found)
    finally:
        for handle in handles:
            os.close(handle)


def drop_note(folder: Path, flow_run: UUID) -> None:
    """Removes a note; call it within `taken_notes`."""
    (folder / str(flow_run)).unlink(missing_ok=True)


def _read(path: Path, handle: int) -> Note:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alive = False
    except BlockingIOError:
        alive = True
    try:
        data = json.loads(os.pread(handle, 4096, 0))
        pid, run_count, cancelled = int(data["pid"]), int(data["run_count"]), data["cancelled"]
    except (ValueError, KeyError, TypeError):
        pid, run_count, cancelled = 0, 0, False
    return Note(UUID(path.name), pid, run_count, alive, bool(cancelled))


def _write(handle: int, run_count: int, *, cancelled: bool) -> None:
    note = {"pid": os.getpid(), "run_count": run_count, "cancelled": cancelled}
    data = json.dumps(note).encode()
    # Its lock is what counts: a full disk must not end a run.
    with suppress(OSError):
        os.pwrite(handle, data, 0)
        os.ftruncate(handle, len(data))


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _id(path: Path) -> UUID | None:
    try:
        return UUID(path.name)
    except ValueError:
        return None
