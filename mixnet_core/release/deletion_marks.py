"""Marks of who is deleting a release's files, for those who would count on them meanwhile.

    deletions/NAME.<32 hex>.json     one a deletion, removed at its end

Who deletes marks first and looks second: at the aliases, and whether a manifest names the files.
Who publishes or sets an alias writes first and looks for marks second. So at least one of two that
meet sees the other, and a publisher puts right what was taken from under it. A mark whose process
was killed stops to count after ten minutes; `collect` removes it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from mixnet_core.storage.storage import Storage

FOLDER = "deletions"
ABANDONED_SECONDS = 600.0
_WAIT_SECONDS = 30.0


@contextmanager
def marked(storage: Storage, name: str) -> Iterator[None]:
    """Says for the length of the block that files of a release's folder are being deleted.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    key = f"{FOLDER}/{name}.{uuid.uuid4().hex}.json"
    # Nobody else has its name: that there is none needs no store that refuses to overwrite.
    said = storage.single_writer
    storage.single_writer = True
    try:
        storage.create(key, json.dumps({"format": 1, "release": name}).encode())
    finally:
        storage.single_writer = said
    try:
        yield
    finally:
        storage.remove(key)


def being_deleted(storage: Storage, name: str) -> bool:
    """Tells whether somebody is deleting files of a release's folder.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    marks = [item for item in storage.listed(FOLDER) if name == marked_name(item.key)]
    if not marks:
        return False
    now = storage.now()
    return any(now - item.modified < ABANDONED_SECONDS for item in marks)


def marked_name(key: str) -> str:
    """Returns the name of the release that a mark is for; "" where the key is no mark's."""
    name, _, rest = key.removeprefix(f"{FOLDER}/").removesuffix(".json").rpartition(".")
    return name if len(rest) == len(uuid.UUID(int=0).hex) else ""


def wait_for_deletions(storage: Storage, name: str, seconds: float = _WAIT_SECONDS) -> bool:
    """Waits until nobody deletes files of a release's folder any more.

    Returns:
        Whether that came about in time.

    Raises:
        MixnetError: as `storage.Storage`.
    """
    deadline = time.monotonic() + seconds
    while being_deleted(storage, name):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.2)
    return True
