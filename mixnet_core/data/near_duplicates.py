"""Images that look alike without being the same bytes: saved again, smaller, a little brighter.

    near_duplicates.csv    group,split,class,path; what is linked to one another stands together
    near_duplicates.json   the distance and the counts

Each image is decoded once more and gets a perceptual hash of 64 bits (ImageHash's `phash`, of the
lowest frequencies of its grey values). Two whose hashes differ in a few bits mostly look alike to a
person; plain images do so whatever is faintly on them. So this is done where it is asked for, and
nothing is removed. What is the same byte for byte counts in `data.overlap` alone.

Letters: N images, H different hashes, E pairs of these within the distance.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from mixnet_core.data.hamming import BITS, MOST_BITS, pairs_within
from mixnet_core.data.index import SPLITS, Row, read_index, read_rows
from mixnet_core.data.pixels import decoded
from mixnet_core.data.reading import Content, contents
from mixnet_core.data.seen import prefixes_of
from mixnet_core.errors import DatasetError, InputError, IntegrityError, MachineError
from mixnet_core.processes.cores import usable_cores
from mixnet_core.runs.values import NEAR_DUPLICATES_FILE, NearDuplicates, PreparedDataset
from mixnet_core.storage.files import file_aside, read_json, write_json

_COUNTS = "near_duplicates.json"
_CHUNK_IMAGES = 512


def find_near_duplicates(
    dataset: PreparedDataset, distance: int, on_image: Callable[[int, int], None] | None = None
) -> NearDuplicates:
    """Counts and lists the images of a prepared dataset that look alike.

    Args:
        distance: bits in which two hashes may differ, 0 to MOST_BITS.
        on_image: called with (done, total) in this thread after every image.

    Raises:
        InputError: there is no such distance, or too many pairs are within it.
        DatasetError: an image cannot be read any more.
        MachineError: ImageHash is not installed; the listing cannot be written.
        IntegrityError: as `data.index.read_index`.
    """
    if not 0 <= distance <= MOST_BITS:
        raise InputError(
            f"images that look alike within {distance} bits: expected 0 to {MOST_BITS} of {BITS}; "
            "4 finds what was saved again"
        )
    root = Path(dataset.root)
    rows = {split: read_rows(root, split) for split in SPLITS if split in dataset.counts}
    alike = _Alike(rows, _hashes(root, rows, on_image), distance)
    listed = _write_listing(root, dataset.classes, rows, alike.groups())
    found = NearDuplicates(
        distance=distance,
        val_in_training=alike.beside("val", "train", "select") if "train" in rows else None,
        select_in_train=alike.beside("select", "train") if "select" in rows else None,
        within={split: alike.within(split) for split in rows},
        in_several_classes=alike.in_several_classes(),
        all=listed,
    )
    write_json(root / _COUNTS, found.model_dump(mode="json"))
    return found


def near_duplicates_of(root: Path) -> NearDuplicates | None:
    """Returns what was found in a prepared dataset the last time; None where nobody asked.

    Raises:
        IntegrityError, MachineError: it cannot be read.
    """
    path = root / _COUNTS
    if not path.is_file():
        return None
    try:
        return NearDuplicates.model_validate(read_json(path))
    except ValidationError as error:
        raise IntegrityError(
            f"{path} is damaged: delete it, or run `mixnet prepare --near-duplicates BITS` again"
        ) from error


class _Alike:
    """Knows which images look alike.

    Attributes:
        split, label: (N,), of each image.
        content: (N,), equal for equal bytes.
        node: (N,), which of the hashes an image has.
        pairs: (E, 2) of hashes.
    """

    def __init__(
        self, rows: Mapping[str, Sequence[Row]], hashes: NDArray[np.uint64], distance: int
    ) -> None:
        every = [row for split in rows for row in rows[split]]
        self.split = np.repeat(list(rows), [len(rows[split]) for split in rows])
        self.label = np.array([row.label for row in every], np.int64)
        _, self.content = np.unique(prefixes_of(row.sha256 for row in every), return_inverse=True)
        different, self.node = np.unique(hashes, return_inverse=True)
        self.nodes = len(different)
        self.pairs = pairs_within(different, distance)

    def beside(self, split: str, *others: str) -> int:
        """Counts the images of a split that look like one of others, and are none of these."""
        ours, theirs = self.split == split, np.isin(self.split, others)
        same = np.isin(self.content, self.content[theirs])
        near = self._around(np.bincount(self.node[theirs], minlength=self.nodes)) > 0
        return int((ours & ~same & near[self.node]).sum())

    def within(self, split: str) -> int:
        """Counts the images of a split that look like another content of it."""
        ours = self.split == split
        _, first = np.unique(self.content[ours], return_index=True)
        contents = np.bincount(self.node[ours][first], minlength=self.nodes)
        return int((self._around(contents)[self.node[ours]] > 1).sum())

    def in_several_classes(self) -> int:
        """Counts the images that look like one of another class, and do not stand there too."""
        one, other = self.pairs.T
        low, high = _ends(self.label, self.node, self.nodes)
        lowest, highest = low.copy(), high.copy()
        for here, there in ((one, other), (other, one)):
            np.minimum.at(lowest, here, low[there])
            np.maximum.at(highest, here, high[there])
        mixed = (lowest[self.node] != self.label) | (highest[self.node] != self.label)
        low, high = _ends(self.label, self.content, int(self.content.max()) + 1)
        return int((mixed & (low == high)[self.content]).sum())

    def groups(self) -> list[NDArray[np.int64]]:
        """Returns the images that are linked, by one or several pairs, if they differ in bytes."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        links = coo_array(
            (np.ones(len(self.pairs), bool), tuple(self.pairs.T)), shape=(self.nodes, self.nodes)
        )
        _, group = connected_components(links, directed=False)
        of_image = group[self.node]
        order = np.argsort(of_image, kind="stable")
        found = np.split(order, np.flatnonzero(np.diff(of_image[order])) + 1)
        linked = [some for some in found if len(np.unique(self.content[some])) > 1]
        return sorted(linked, key=lambda some: int(some[0]))

    def _around(self, counts: NDArray[np.int64]) -> NDArray[Any]:
        """Sums over each hash and those that it is paired with: (H,)."""
        one, other = self.pairs.T
        return (
            counts
            + np.bincount(one, counts[other], self.nodes)
            + np.bincount(other, counts[one], self.nodes)
        )


def _ends(
    values: NDArray[np.int64], of: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the smallest and the largest value of each of `count` sets."""
    low, high = np.full(count, values.max()), np.full(count, values.min())
    np.minimum.at(low, of, values)
    np.maximum.at(high, of, values)
    return low, high


def _hashes(
    root: Path,
    rows: Mapping[str, Sequence[Row]],
    on_image: Callable[[int, int], None] | None,
) -> NDArray[np.uint64]:
    """Returns (N,), the images' hashes, split by split."""
    hashed = _hasher()
    total, found = sum(map(len, rows.values())), []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for split in rows:
            index = read_index(root, split)
            files = zip(contents(index, index.positions), index.paths, strict=True)
            # A queue of a million tasks would itself fill the memory.
            while chunk := list(islice(files, _CHUNK_IMAGES)):
                for value in pool.map(lambda item: hashed(*item), chunk):
                    found.append(value)
                    if on_image:
                        on_image(len(found), total)
    return np.array(found, np.uint64)


def _hasher() -> Callable[[Content, str], int]:
    """Returns what computes the hash of an image's file.

    Raises:
        MachineError: ImageHash is not installed.
    """
    try:
        from imagehash import phash
    except ImportError as error:
        raise MachineError(
            "images that look alike are found by ImageHash, which is not installed: run `pip "
            "install imagehash`"
        ) from error

    def hashed(content: Content, path: str) -> int:
        try:
            image: Any = Image.fromarray(decoded(content()))
        except (DatasetError, ValueError) as error:
            raise DatasetError(
                f"{path} cannot be read any more ({error}): put it back, or prepare the dataset "
                "anew"
            ) from error
        return int(np.packbits(phash(image).hash).view(">u8")[0])

    return hashed


def _write_listing(
    root: Path,
    classes: Sequence[str],
    rows: Mapping[str, Sequence[Row]],
    groups: Iterable[NDArray[np.int64]],
) -> int:
    """Writes the groups; returns how many images they hold."""
    every = [(split, classes[row.label], row.path) for split in rows for row in rows[split]]
    lines = [
        (number, *every[position])
        for number, group in enumerate(groups, start=1)
        for position in group.tolist()
    ]
    with (
        file_aside(root / NEAR_DUPLICATES_FILE) as aside,
        aside.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["group", "split", "class", "path"])
        writer.writerows(lines)
    return len(lines)
