"""The account of a dataset's files: found = taken + left out, by reason.

Whoever lists a folder tells a `Tally` of every file that it meets. What silently does not take part
is worse than an error: half a class may be missing, and nothing but a lower figure tells.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HIDDEN = "hidden"
LINES_NAMED = 20
_NAMED = 3


@dataclass(frozen=True)
class LeftOut:
    """Counts the files that one reason left out.

    Attributes:
        count: files.
        names: the first of them, from the dataset's folder.
    """

    count: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Account:
    """Says of every file below a dataset's folder whether it takes part.

    Attributes:
        taken: files that are images of the dataset.
        left_out: reason -> the files, the most frequent reason first.
        notes: what else there is to know: a folder that was taken for val, or not at all.
    """

    taken: int = 0
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Returns how many files were left out."""
        return sum(item.count for item in self.left_out.values())

    @property
    def found(self) -> int:
        """Returns how many files there are."""
        return self.taken + self.left

    @property
    def sentence(self) -> str:
        """Adds the files up in a line; empty where there are no files to account for."""
        if not self.found:
            return ""
        reasons = ", ".join(f"{item.count:,} {reason}" for reason, item in self.left_out.items())
        left = f"{self.left:,} left out: {reasons}" if reasons else "none left out"
        return f"{self.found:,} files found, {self.taken:,} taken, {left}"

    @property
    def in_short(self) -> tuple[str, ...]:
        """Says what is left out and what is taken otherwise than its name says."""
        return ((self.sentence,) if self.left else ()) + self.notes

    @property
    def lines(self) -> tuple[str, ...]:
        """Says the same with names, a line a reason, for people who look for one file."""
        if not self.found:
            return self.notes
        listed = (
            f"left out, {reason}: {item.count:,} ({_few(item)})"
            for reason, item in self.left_out.items()
        )
        return (f"{self.found:,} files found, {self.taken:,} taken", *listed, *self.notes)

    def as_json(self) -> dict[str, Any]:
        """Returns it as a manifest holds it; `from_json` reads it back."""
        return {
            "found": self.found,
            "taken": self.taken,
            "left_out": {
                reason: {"count": item.count, "first": list(item.names)}
                for reason, item in self.left_out.items()
            },
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Account:
        """Reads what `as_json` returned; what earlier versions did not store is empty."""
        return cls(
            taken=int(stored.get("taken", 0)),
            left_out={
                reason: LeftOut(int(item["count"]), tuple(item["first"]))
                for reason, item in stored.get("left_out", {}).items()
            },
            notes=tuple(map(str, stored.get("notes", ()))),
        )


class Tally:
    """Counts files as they are met.

    Args:
        root: the dataset's folder, from which files are named.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._taken = 0
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}
        self._notes: list[str] = []

    def take(self, files: int = 1) -> None:
        """Counts images of the dataset."""
        self._taken += files

    def leave(self, reason: str, path: str | Path) -> None:
        """Counts a file that takes no part.

        Args:
            reason: what is wrong with it, in words that follow a number.
            path: below the root.
        """
        # It may name a folder.
        reason = _printable(reason)
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < LINES_NAMED:
            names.append(_printable(os.path.relpath(path, self._root)))

    def leave_all(self, reason: str, folder: str | Path) -> int:
        """Counts all files below a folder; returns how many.

        Links to folders are not followed, nor is the folder itself where it is one.
        """
        files = 0
        if Path(folder).is_symlink():
            # It may lead to a whole disk, or up to where it stands.
            return 0

        def unreadable(error: OSError) -> None:
            place = _printable(os.path.relpath(error.filename, self._root))
            self.note(f"{place}/ cannot be read ({error.strerror}): its files are not counted")

        for place, folders, names in os.walk(folder, onerror=unreadable):
            folders.sort()
            for name in sorted(names):
                self.leave(reason, f"{place}/{name}")
                files += 1
        return files

    def note(self, line: str) -> None:
        """Adds what else there is to know."""
        self._notes.append(_printable(line))

    def account(self) -> Account:
        """Returns what was counted."""
        order = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        left = {
            reason: LeftOut(self._counts[reason], tuple(self._names[reason])) for reason in order
        }
        return Account(self._taken, left, tuple(self._notes))


def several(names: list[str], total: int) -> str:
    """Names the first of many in a line: a, b, c and 17 more."""
    more = total - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


def _few(item: LeftOut) -> str:
    return several(list(item.names[:_NAMED]), item.count)


def _printable(name: str) -> str:
    """Returns a name as one line of UTF-8, whatever its bytes are."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
