"""The list of pictures that a job is handed: path and reason of each, each ended by a zero byte.

The reason says why a picture cannot be read, where that is known before; it is empty else. Names
are bytes, as the file system has them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mixnet_core.data.named_pictures import NamedPicture
from mixnet_core.storage.files import os_errors_explained

_PIECE = 1 << 16
_END = b"\0"


def write_list(
    path: Path, pictures: Iterable[NamedPicture], on_picture: Callable[[int], None]
) -> int:
    """Writes a list, one picture after the other; returns how many.

    Args:
        on_picture: is told how many there are so far.

    Raises:
        MachineError: it cannot be written.
    """
    count = 0
    with os_errors_explained(path), path.open("wb") as file:
        for picture in pictures:
            for text in (picture.path, picture.reason):
                file.write(os.fsencode(text) + _END)
            count += 1
            on_picture(count)
    return count


def read_list(path: Path) -> Iterator[NamedPicture]:
    """Yields the pictures of a list; little of it is in memory at a time.

    Raises:
        MachineError: it cannot be read.
    """
    with os_errors_explained(path, "read"), path.open("rb") as file:
        rest, name = b"", None
        while piece := file.read(_PIECE):
            *texts, rest = (rest + piece).split(_END)
            for text in map(os.fsdecode, texts):
                if name is None:
                    name = text
                else:
                    yield NamedPicture(name, text)
                    name = None
