"""Which images training and selection saw, by digest, to count how many of others they are.

    seen-<12 hex>.bin   in a release, and seen.bin in a run: the first 8 bytes of each image's
                        sha256, big-endian, ascending, each once, and nothing else

Eight bytes suffice: of 50,000 images one would stand among a million others by chance once in some
hundred million datasets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.index import read_rows
from mixnet_core.errors import IntegrityError
from mixnet_core.storage.files import file_aside, os_errors_explained

_STORED = np.dtype(">u8")
_PREFIX_HEX = 2 * _STORED.itemsize


@dataclass(frozen=True, eq=False)
class Seen:
    """Holds the digests of images.

    Attributes:
        prefixes: (N,) uint64, the first 8 bytes of each sha256, ascending, each once.
        lacks: the name of initial weights whose images would belong here and are not known.
    """

    prefixes: NDArray[np.uint64]
    lacks: str | None = None

    def __or__(self, other: Seen) -> Seen:
        """Returns the images of both."""
        both = np.union1d(self.prefixes, other.prefixes)
        return Seen(both, self.lacks if self.lacks is not None else other.lacks)

    def mask(self, digests: Iterable[str]) -> NDArray[np.bool_]:
        """Tells of each image whether it is among these.

        Args:
            digests: hex sha256 of each.

        Returns:
            (len(digests),).
        """
        return np.isin(prefixes_of(digests), self.prefixes)

    def count(self, digests: Iterable[str]) -> int:
        """Counts how many of the images are among these; arguments as `mask`."""
        return int(self.mask(digests).sum())


def seen_in_training(root: Path) -> Seen | None:
    """Collects the images of a prepared dataset's train and select; None where it has val only.

    Raises:
        DatasetError, IntegrityError, MachineError: as `data.index.read_index`.
    """
    if not all((root / f"{split}.csv").is_file() for split in ("train", "select")):
        return None
    digests = [row.sha256 for split in ("train", "select") for row in read_rows(root, split)]
    return Seen(np.unique(prefixes_of(digests)))


def val_digests(root: Path) -> list[str]:
    """Returns the hex sha256 of each val image, in the split's order.

    Raises:
        DatasetError, IntegrityError, MachineError: as `data.index.read_index`.
    """
    return [row.sha256 for row in read_rows(root, "val")]


def write_seen(path: Path, seen: Seen) -> None:
    """Writes the file of a run, which its release takes over.

    Raises:
        MachineError: as `storage.files.file_aside`.
    """
    with file_aside(path) as aside:
        aside.write_bytes(seen.prefixes.astype(_STORED).tobytes())


def read_seen(path: Path) -> Seen:
    """Reads what `write_seen` wrote.

    Raises:
        IntegrityError: it is no such file.
        MachineError: it cannot be read.
    """
    with os_errors_explained(path, "read"):
        content = path.read_bytes()
    if len(content) % _STORED.itemsize:
        raise IntegrityError(
            f"{path} has {len(content)} bytes, expected 8 for each image that training or "
            "selection saw: fetch it again, or validate the run again"
        )
    prefixes = np.frombuffer(content, _STORED).astype(np.uint64)
    if np.any(prefixes[1:] <= prefixes[:-1]):
        raise IntegrityError(
            f"{path} holds no ascending digests: fetch it again, or validate the run again"
        )
    return Seen(prefixes)


def prefixes_of(digests: Iterable[str]) -> NDArray[np.uint64]:
    """Returns the first 8 bytes of each digest, hex, as a number."""
    return np.fromiter((int(digest[:_PREFIX_HEX], 16) for digest in digests), np.uint64)
