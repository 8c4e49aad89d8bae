"""Objects that were fetched, each under a name made of key, version and size, with its digest.

    pool/3f/3f9a...     a whole object; it appears when it is verified and on the disk
    pool/index.jsonl    a line for each: {"name", "sha256", "bytes", "changed": mtime in ns}
    pool/partial/       large objects of which stretches are there, with a list of these

An object that changed in the store has another name: what reads the old one is not disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from mixnet_core.storage.files import os_errors_explained, sync
from mixnet_core.storage.storage import Listed

# With an end of its own: a line that was cut short is none.
_DONE = re.compile(r"^(\d{6})\.$", re.MULTILINE)


class _Entry(NamedTuple):
    sha256: str
    bytes: int
    changed: int


class Pool:
    """Knows what is there and adds to it; one process at a time, `add` and `flush` in one thread.

    Raises:
        MachineError: it cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.partial = root / "partial"
        self._index = root / "index.jsonl"
        self._entries: dict[str, _Entry] = {}
        self._unwritten: list[str] = []
        with os_errors_explained(root, "read"):
            content = self._index.read_bytes() if self._index.is_file() else b""
        for line in content.split(b"\n"):
            # The last one of a process that was killed may be a part.
            try:
                row = json.loads(line)
                self._entries[row["name"]] = _Entry(row["sha256"], row["bytes"], row["changed"])
            except (ValueError, KeyError, TypeError):
                continue
        self._torn = bool(content) and not content.endswith(b"\n")

    def make(self) -> None:
        """Makes its folders.

        Raises:
            MachineError: they cannot be made.
        """
        with os_errors_explained(self.root):
            self.partial.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def name(listed: Listed) -> str:
        """Returns the name of an object's file."""
        text = f"{listed.key}\0{listed.version}\0{listed.bytes}"
        return hashlib.sha256(text.encode()).hexdigest()

    def path(self, listed: Listed) -> Path:
        """Returns where an object is, or would be."""
        name = self.name(listed)
        return self.root / name[:2] / name

    def has(self, listed: Listed) -> bool:
        """Tells whether an object is there, and as it was fetched by size and time.

        Raises:
            MachineError: it cannot be looked at.
        """
        entry = self._entries.get(self.name(listed))
        if entry is None:
            return False
        path = self.path(listed)
        with os_errors_explained(path, "read"):
            try:
                found = path.stat()
            except FileNotFoundError:
                return False
        return (found.st_size, found.st_mtime_ns) == (entry.bytes, entry.changed)

    def sha256(self, listed: Listed) -> str:
        """Returns the hex digest of an object that is there."""
        return self._entries[self.name(listed)].sha256

    def put(self, file: Path, listed: Listed) -> int:
        """Puts a verified file, which was written beside the pool, in its place; for any thread.

        Returns:
            The time that it has there, for `add`.

        Raises:
            OSError: it cannot be put there.
        """
        # The store's time: the folder then looks alike whenever it is fetched.
        changed = int(listed.modified * 1000) * 1_000_000
        os.utime(file, ns=(changed, changed))
        # Files of a dataset may be links to it.
        file.chmod(0o444)
        sync(file)
        target = self.path(listed)
        target.parent.mkdir(exist_ok=True)
        file.replace(target)
        return target.stat().st_mtime_ns

    def add(self, listed: Listed, sha256: str, changed: int) -> None:
        """Notes what `put` put there; it is on record with the next `flush`."""
        entry = _Entry(sha256, listed.bytes, changed)
        name = self.name(listed)
        self._entries[name] = entry
        self._unwritten.append(json.dumps({"name": name, **entry._asdict()}))

    def flush(self) -> None:
        """Writes down what was added since the last time.

        Raises:
            MachineError: it cannot be written.
        """
        if not self._unwritten:
            return
        with os_errors_explained(self._index), self._index.open("a", encoding="utf-8") as file:
            file.write("\n" * self._torn + "".join(f"{line}\n" for line in self._unwritten))
            file.flush()
            # The objects' own folders before what names them.
            for name in {json.loads(line)["name"][:2] for line in self._unwritten}:
                sync(self.root / name)
            os.fsync(file.fileno())
        self._torn = False
        self._unwritten.clear()

    def keep(self, names: Collection[str]) -> None:
        """Removes every object but some, and what is left of large ones.

        Raises:
            OSError: one cannot be removed.
        """
        for path in self.root.glob("*/*"):
            if path.is_file() and path.name.partition(".")[0] not in names:
                path.unlink()

    def stretches(self, listed: Listed) -> Path:
        """Returns the path of a large object while stretches of it come in."""
        return self.partial / self.name(listed)

    def stretches_done(self, listed: Listed) -> set[int]:
        """Returns the numbers of the stretches that are on the disk."""
        path, done = self.stretches(listed), self._done(listed)
        if not (path.is_file() and path.stat().st_size == listed.bytes and done.is_file()):
            return set()
        return {int(number) for number in _DONE.findall(done.read_text())}

    def stretch_done(self, listed: Listed, number: int) -> None:
        """Notes a stretch that is on the disk.

        Raises:
            OSError: it cannot be written.
        """
        with self._done(listed).open("a") as file:
            file.write(f"\n{number:06d}.")

    def forget_stretches(self, listed: Listed) -> None:
        """Removes what is left of a large object that is whole by now, or no more what it was."""
        self.stretches(listed).unlink(missing_ok=True)
        self._done(listed).unlink(missing_ok=True)

    def _done(self, listed: Listed) -> Path:
        return self.stretches(listed).with_suffix(".done")
