"""Room for the images on a file system, checked before the first is written."""

from __future__ import annotations

import os
from pathlib import Path

from mixnet_core.errors import MachineError
from mixnet_core.storage.files import os_errors_explained

# The 1,281,167 images of train have 138 GB.
_MEAN_BYTES = 108_000
# Listings, reports and the space that file systems take for themselves.
_SPARE = 1.01
_REMEDY = "free some or choose another folder with --to"


def expect_room(root: Path, size: int, images: int | None) -> None:
    """Makes sure that the images fit onto the disk.

    Args:
        root: the folder that they are written to.
        size: bytes of the images that are still to be written.
        images: how many; None: it is estimated from their size.

    Raises:
        MachineError: there are too few bytes or inodes, or it cannot be told.
    """
    with os_errors_explained(root, "read"):
        status = os.statvfs(root)
    if images is None:
        images = size // _MEAN_BYTES
    # A file fills its last block by half.
    needed = int(_SPARE * size) + images * status.f_bsize // 2
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise MachineError(
            f"the images need about {needed / 1e9:,.1f} GB in {root}, {free / 1e9:,.1f} GB are "
            f"free: {_REMEDY}"
        )
    # File systems without a fixed number of inodes say that they have none.
    if status.f_files and images > status.f_favail:
        raise MachineError(
            f"the images need about {images:,} inodes in {root}, {status.f_favail:,} are free: "
            f"{_REMEDY}"
        )
