"""Images that training cannot read: counted, reported, and survived up to the recipe's limit.

Every rank appends one line of JSON per image to a file of the run, one for each host: {"epoch",
"rank", "path", "reason"}. An epoch that is entered again reports its images again, so they are
counted by `path`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import NamedTuple

from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

_log = logging.getLogger(__name__)


class Unreadable(NamedTuple):
    """Names an image that cannot be read.

    Attributes:
        path: the image's, as the index has it.
        reason: in one line.
    """

    path: str
    reason: str


class UnreadableImages:
    """Counts the unreadable images of one rank.

    Args:
        file: JSON lines that they are appended to; None: nowhere.
        limit: how many of one epoch are survived.
        rank: the one that reads.
    """

    def __init__(self, file: Path | None, limit: int, rank: int) -> None:
        self._file, self._limit, self._rank = file, limit, rank
        self._epoch = -1
        self._count = 0

    def add(self, epoch: int, image: Unreadable) -> None:
        """Counts and reports an image.

        Raises:
            DatasetError: it is one more than the limit in this epoch.
            MachineError: the file cannot be written.
        """
        if epoch != self._epoch:
            self._epoch, self._count = epoch, 0
        self._count += 1
        self._append(epoch, image)
        if self._count > self._limit:
            raise DatasetError(
                f"cannot read {image.path} ({image.reason}): run `mixnet prepare` again to have "
                f"every image checked{self._survived()}"
            )
        _log.warning(
            "cannot read %s (%s), another image of its batch stands in: %d of at most %d in epoch "
            "%d of rank %d",
            image.path,
            image.reason,
            self._count,
            self._limit,
            epoch + 1,
            self._rank,
        )

    def _append(self, epoch: int, image: Unreadable) -> None:
        if self._file is None:
            return
        row = {"epoch": epoch + 1, "rank": self._rank, **image._asdict()}
        with os_errors_explained(self._file), self._file.open("a", encoding="utf-8") as file:
            # In one piece, so that ranks that write at once do not mix their lines.
            file.write(json.dumps(row) + "\n")

    def _survived(self) -> str:
        if self._limit == 0:
            return ", or allow some with data.max_unreadable"
        return (
            f"; {self._count} images of rank {self._rank} in epoch {self._epoch + 1}, "
            f"data.max_unreadable allows {self._limit}"
        )


def count_unreadable(file: Path) -> int:
    """Counts the different images that the file names, and those of other hosts beside it.

    Raises:
        MachineError: it cannot be read.
    """
    lines: list[str] = []
    with os_errors_explained(file, "read"):
        # `runs.run_dir.RunDir.unreadable_on` names them.
        for each in (file, *file.parent.glob(f"{file.stem}-host-*{file.suffix}")):
            if each.is_file():
                lines += each.read_text(encoding="utf-8").splitlines()
    return len({path for line in lines if (path := _path(line)) is not None})


def _path(line: str) -> str | None:
    try:
        return str(json.loads(line)["path"])
    except (ValueError, KeyError):
        # A crash cut it short.
        return None
