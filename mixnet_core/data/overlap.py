"""Images whose bytes stand in a dataset more than once: found by digest, counted, listed.

    duplicates.csv      sha256,split,class,path; the images of one content stand together

Nothing is removed. Images that only look alike: `data.near_duplicates`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixnet_core.runs.values import DUPLICATES_FILE, Overlap
from mixnet_core.storage.files import file_aside

_TRAINING = ("train", "select")
# Enough of a digest to tell what is no duplicate; whole digests are compared for the rest.
_PREFIX_HEX = 16


class Copy(NamedTuple):
    """Describes an image among those that are compared.

    Attributes:
        sha256: hex, of the file.
        name: of its class.
        path: as the split's index has it.
    """

    sha256: str
    split: str
    name: str
    path: str


def duplicates(images: Callable[[], Iterable[Copy]]) -> list[list[Copy]]:
    """Groups the images that have their bytes in common with another one.

    Args:
        images: yields all of them, each time it is called: it is called twice, so that numbers
            are all that is kept of a million images.

    Returns:
        The images of each content that stands more than once, in the order of `images`.
    """
    prefixes = np.fromiter((int(image.sha256[:_PREFIX_HEX], 16) for image in images()), np.uint64)
    values, counts = np.unique(prefixes, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    if not suspects:
        return []
    groups: dict[str, list[Copy]] = {}
    for image in images():
        if int(image.sha256[:_PREFIX_HEX], 16) in suspects:
            groups.setdefault(image.sha256, []).append(image)
    return [group for group in groups.values() if len(group) > 1]


def counted(groups: Iterable[Sequence[Copy]], splits: Sequence[str]) -> Overlap:
    """Counts the images in `duplicates`.

    Args:
        splits: that the dataset has.
    """
    in_training = in_train = in_several_classes = images = 0
    within = dict.fromkeys(splits, 0)
    for group in groups:
        found = Counter(image.split for image in group)
        images += len(group)
        in_training += found["val"] if any(found[split] for split in _TRAINING) else 0
        in_train += found["select"] if found["train"] else 0
        in_several_classes += len(group) if len({image.name for image in group}) > 1 else 0
        for split, count in found.items():
            within[split] += count if count > 1 else 0
    return Overlap(
        val_in_training=in_training if "train" in splits else None,
        select_in_train=in_train if "select" in splits else None,
        within=within,
        in_several_classes=in_several_classes,
        all=images,
    )


def write_listing(root: Path, groups: Iterable[Sequence[Copy]]) -> None:
    """Writes `duplicates.csv` into a dataset's folder, with its header alone if there are none.

    Raises:
        MachineError: as `storage.files.file_aside`.
    """
    with (
        file_aside(root / DUPLICATES_FILE) as aside,
        aside.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sha256", "split", "class", "path"])
        writer.writerows(image for group in groups for image in group)
