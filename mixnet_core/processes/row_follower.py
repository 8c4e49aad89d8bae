"""Follows the rows that another process appends to a file of JSON lines."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


class RowFollower:
    """Reads what is appended from its construction on, also after the file was written anew.

    Not reported are the rows that the file held before, and those of them, in their order, that a
    rewritten file starts with; a line still without its end; a line that is no JSON object, as a
    crash may leave one. A new row at a rewritten file's head that equals an old one in every value
    is taken for it.

    Args:
        path: of the file; it may be missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old: list[bytes] = []
        self._reset()
        self._old = self._lines()

    def rows(self) -> list[dict[str, Any]]:
        """Returns the new rows since the last call; none while there is no file."""
        rows = []
        for line in self._lines():
            with suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    rows.append(row)
        return rows

    def _reset(self) -> None:
        self._inode = 0
        self._offset = 0
        self._last = b""
        self._kept = list(self._old)

    def _lines(self) -> list[bytes]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            # Another file, or other content before the offset that was read to: from the start.
            inode = os.fstat(file.fileno()).st_ino
            file.seek(self._offset - len(self._last))
            if inode != self._inode or file.read(len(self._last)) != self._last:
                self._reset()
                self._inode = inode
                file.seek(0)
            whole, _, _ = file.read().rpartition(b"\n")
        if not whole:
            return []
        lines = whole.split(b"\n")
        self._offset += len(whole) + 1
        self._last = lines[-1] + b"\n"
        return lines[self._skipped(lines) :]

    def _skipped(self, lines: list[bytes]) -> int:
        """Counts the lines at the head that are old ones, kept when the file was rewritten."""
        for number, line in enumerate(lines):
            if line not in self._kept:
                self._kept = []
                return number
            self._kept = self._kept[self._kept.index(line) + 1 :]
        return len(lines)
