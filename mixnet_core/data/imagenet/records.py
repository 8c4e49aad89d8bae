"""Records of what was unpacked already: one per finished part, so that a killed unpacking goes on.

A part is a class of train or some hundred images of val. Everything is in `.unpacking/` in the
unpacked folder, which is removed at the end. Records are written aside and renamed, but not synced:
an fsync per part would wait for its images to reach the disk, and a process that is killed loses
nothing without it. A machine that goes down may: records from before its last start are therefore
believed only after the images were read again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mixnet_core.data.imagenet.archives import Identity
from mixnet_core.data.imagenet.edition import Role
from mixnet_core.data.imagenet.listing import Listed, Split
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.storage.files import os_errors_explained, read_json, sha256_of, write_json

WORK_FOLDER = ".unpacking"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class LeftOut(NamedTuple):
    """Names an image that cannot be used.

    Attributes:
        name: path of the file.
        reason: in a few words.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Part:
    """Holds a finished part: its images, by path, and what was left out."""

    rows: list[Listed]
    left_out: list[LeftOut]


class Extent(NamedTuple):
    """Says how large a finished part is.

    Attributes:
        bytes: on the disk.
        images: how many, also those left out.
    """

    bytes: int
    images: int


class Records:
    """Keeps the records of one unpacked folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._work = root / WORK_FOLDER
        self._state_file = self._work / "state.json"
        self._boot = _boot()
        self._state: dict[str, Any] = {}

    def begin(self, inputs: Mapping[str, Any]) -> bool:
        """Starts, or goes on with, unpacking what `inputs` (JSON) tell.

        Returns:
            Whether it goes on with an earlier one.

        Raises:
            InputError: the folder holds an unpacking of something else.
            MachineError: it cannot be written.
        """
        self.remove_asides()
        if not self._state_file.is_file():
            self._state = {"inputs": dict(inputs), "archives": {}}
            write_json(self._state_file, self._state)
            return False
        self._state = read_json(self._state_file)
        if self._state["inputs"] != inputs:
            raise InputError(
                f"{self._root} holds an unfinished unpacking of other archives or with other "
                "options: choose another folder with --to, or delete it"
            )
        return True

    def is_begun(self) -> bool:
        """Tells whether an unpacking into the folder has begun."""
        return self._state_file.is_file()

    def open_archive(self, role: Role, split: Split, identity: Identity) -> str | None:
        """Returns the archive's md5 if it was taken from this very file, else None.

        Forgets the split's parts if they came from another file: where an archive was fetched
        again, what came from the first must not stay.
        """
        known = self._state["archives"].get(role)
        if known is None or known["identity"] != list(identity):
            self.forget(split)
            self._note(role, {"identity": list(identity), "md5": None})
            return None
        md5 = known["md5"]
        return None if md5 is None else str(md5)

    def verified(self, role: Role, identity: Identity, md5: str) -> None:
        """Notes that the archive was read to its end, and what its md5 is."""
        self._note(role, {"identity": list(identity), "md5": md5})

    def forget(self, split: Split) -> None:
        """Removes the records of a split; its images are written again."""
        with os_errors_explained(self._root):
            shutil.rmtree(self._work / split, ignore_errors=True)

    def whole(self, split: Split) -> dict[str, Extent]:
        """Returns the finished parts whose images still exist whole; forgets the others.

        Images are compared by size; where the machine was started since, by digest.
        """
        found = {}
        for path in self._files(split):
            try:
                data = read_json(path)
                rows = [Listed(*row) for row in data["rows"]]
                images = len(rows) + len([LeftOut(*image) for image in data["left_out"]])
                same_boot = data["boot"] == self._boot
            except (IntegrityError, KeyError, TypeError):
                rows, images, same_boot = [], 0, True
            if images and all(self._is_there(row, same_boot) for row in rows):
                found[path.stem] = Extent(sum(row.bytes for row in rows), images)
            else:
                with os_errors_explained(self._root):
                    path.unlink()
        return found

    def parts(self, split: Split) -> Iterator[Part]:
        """Yields all finished parts by name, as they were recorded."""
        for path in self._files(split):
            data = read_json(path)
            yield Part(
                [Listed(*row) for row in data["rows"]],
                [LeftOut(*image) for image in data["left_out"]],
            )

    def write(self, split: Split, name: str, part: Part) -> None:
        """Records a finished part.

        Raises:
            MachineError: it cannot be written.
        """
        path = self._work / split / f"{name}.json"
        aside = self.aside(f"{split}-{name}.json")
        with os_errors_explained(self._root):
            path.parent.mkdir(exist_ok=True)
            data = {"boot": self._boot, "rows": part.rows, "left_out": part.left_out}
            aside.write_text(json.dumps(data), encoding="utf-8")
            aside.replace(path)

    def aside(self, name: str) -> Path:
        """Returns a path for something unfinished, in a folder that exists."""
        folder = self._work / "aside"
        with os_errors_explained(self._root):
            folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def remove_asides(self) -> None:
        """Removes what a killed process left unfinished."""
        with os_errors_explained(self._root):
            shutil.rmtree(self._work / "aside", ignore_errors=True)

    def end(self) -> None:
        """Removes everything but the images."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _files(self, split: Split) -> list[Path]:
        return sorted((self._work / split).glob("*.json"))

    def _note(self, role: Role, facts: Mapping[str, Any]) -> None:
        self._state["archives"][role] = facts
        write_json(self._state_file, self._state)

    def _is_there(self, row: Listed, same_boot: bool) -> bool:
        path = self._root / row.path
        try:
            status = os.lstat(path)
            if status.st_size != row.bytes:
                return False
            return same_boot or sha256_of(path) == row.sha256
        except OSError:
            return False


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
