"""A folder that was unpacked to the end, and whether it still is what it was."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from mixnet_core.data.imagenet.listing import (
    SPLITS,
    Listed,
    Split,
    iterate_listing,
    listing_fingerprint,
    read_facts,
    rows_of,
)
from mixnet_core.errors import IntegrityError
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.values import Value
from mixnet_core.storage.files import os_errors_explained


class UnpackedImageNet(Value):
    """Describes an image folder of ImageNet with a listing.

    Attributes:
        root: absolute path of the folder that holds train/, val/ and imagenet.json.
        fingerprint: hex sha256 over every image's split, class and content digest.
        counts: images per split.
        left_out: images of the archives that cannot be used.
        report: absolute path of report.md.
        reused: whether it was unpacked already and nothing was done.
    """

    root: str
    fingerprint: str
    counts: dict[str, int]
    left_out: int
    report: str
    reused: bool = False


@summary.register
def _(value: UnpackedImageNet) -> str:
    counts = " and ".join(f"{count:,} of {split}" for split, count in value.counts.items())
    left_out = f", {value.left_out:,} left out" if value.left_out else ""
    done = ", already done, every file is there" if value.reused else ""
    return (
        f"{counts} in {value.root}{left_out}, fingerprint {value.fingerprint[:12]}{done}; "
        f"{value.report}"
    )


def open_unpacked(root: Path) -> UnpackedImageNet:
    """Opens a folder and checks listings against fingerprint, every file for presence and size.

    The images' content is not read.

    Raises:
        DatasetError: nothing was unpacked at `root`.
        IntegrityError: a listing is damaged, a file is missing, is there besides, or has another
            size.
        MachineError: it cannot be read.
    """
    facts = read_facts(root)
    actual = listing_fingerprint({split: iterate_listing(root, split) for split in SPLITS})
    if facts["fingerprint"] != actual:
        raise IntegrityError(
            f"the listings of {root} have fingerprint {actual}, imagenet.json says "
            f"{facts['fingerprint']}"
        )
    expect_files(root)
    return UnpackedImageNet(
        root=str(root.resolve()),
        fingerprint=actual,
        counts=facts["counts"],
        left_out=facts["left_out"],
        report=str(root.resolve() / "report.md"),
        reused=True,
    )


def expect_files(root: Path) -> None:
    """Makes sure that every listed image exists with its size, and nothing else but hidden files.

    Raises:
        IntegrityError: one is not, or something else is.
        MachineError: it cannot be read.
    """
    for split in SPLITS:
        with os_errors_explained(root, "read"):
            _expect_split(root, split, rows_of(root / f"{split}.csv", split))


def _expect_split(root: Path, split: Split, rows: Iterable[Listed]) -> None:
    classes = set()
    for wnid, images in groupby(rows, key=lambda row: row.wnid):
        classes.add(wnid)
        folder = root / split / wnid
        sizes = _sizes(folder)
        for row in images:
            size = sizes.pop(row.path.rpartition("/")[2], None)
            if size != row.bytes:
                found = "is missing" if size is None else f"has {size:,} bytes"
                raise IntegrityError(
                    f"{root / row.path} {found}, the listing says {row.bytes:,} bytes"
                )
        _expect_nothing(folder, sizes)
    _expect_nothing(root / split, _sizes(root / split).keys() - classes)


def _sizes(folder: Path) -> dict[str, int]:
    """Returns what is in a folder and not hidden: name -> bytes, -1 for what is no regular file."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat().st_size if entry.is_file(follow_symlinks=False) else -1
            for entry in entries
            if not entry.name.startswith(".")
        }


def _expect_nothing(folder: Path, names: Iterable[str]) -> None:
    for name in sorted(names):
        raise IntegrityError(f"{folder / name} is not in the listing: move it elsewhere")
