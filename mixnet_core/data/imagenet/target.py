"""The folder that is unpacked into: nobody else works in it, and nothing else is in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixnet_core.data.imagenet.listing import SPLITS
from mixnet_core.data.imagenet.records import Records
from mixnet_core.errors import InputError, TransientError
from mixnet_core.storage.asides import remove_all_asides
from mixnet_core.storage.files import os_errors_explained

# Names of what is unpacked, which would be mixed with, or replace, what has them.
_OWN = (*SPLITS, *(f"{split}.csv" for split in SPLITS), "report.md", "report.json")


def expect_own(root: Path, records: Records) -> None:
    """Makes sure that no file of somebody else's is replaced by what is unpacked.

    Raises:
        InputError: there is one.
        MachineError: what an earlier attempt left aside cannot be removed.
    """
    if records.is_begun():
        # Listings that were being written when it was killed.
        with os_errors_explained(root):
            remove_all_asides(root)
        return
    for name in _OWN:
        if (root / name).exists():
            raise InputError(
                f"{root} has {name} already, which was not unpacked by this command: choose "
                "another folder with --to"
            )


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Holds the folder against other processes; the kernel lets go when the process ends.

    Raises:
        TransientError: another process holds it.
        MachineError: it cannot be written.
    """
    path = root / ".lock"
    with os_errors_explained(root):
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransientError(
                f"another process unpacks into {root}: wait until it has ended, or choose "
                "another folder with --to"
            ) from None
        yield
    finally:
        os.close(handle)
