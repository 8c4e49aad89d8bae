"""Every image of a dataset's splits, checked once, and written where it is to be kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mixnet_core.data.file_images import expect_usable
from mixnet_core.data.index import Row
from mixnet_core.data.splits import Part
from mixnet_core.errors import UnusableImage
from mixnet_core.processes.cores import usable_cores

OnImage = Callable[[int, int], None]
"""(done, total) -> nothing, after every image."""

# Images handed to the threads at a time: a queue of a million tasks would itself fill the memory.
_CHUNK_IMAGES = 512
# A disk serves no more of them at once.
_MOST_THREADS = 16


def all_rows(
    root: Path,
    classes: tuple[str, ...],
    parts: Sequence[Part],
    images: Path | None,
    on_image: OnImage | None,
) -> dict[str, list[Row]]:
    """Checks every image, and writes it into `root` unless it is to be read in `images`.

    Returns:
        split -> a row per image, in the order of the parts.

    Raises:
        DatasetError: images cannot be used; all of them were tried, so that they are told at once.
        MachineError: one cannot be read or written.
    """
    total = sum(len(part.positions) for part in parts)
    done = 0
    rows: dict[str, list[Row]] = {part.split: [] for part in parts}
    unusable: list[UnusableImage] = []
    # Threads suffice: decoding, hashing and writing release Python's lock.
    with ThreadPoolExecutor(min(_MOST_THREADS, usable_cores())) as pool:
        for part in parts:
            if images is None:
                for label in sorted({int(part.images.labels[i]) for i in part.positions}):
                    (root / part.split / classes[label]).mkdir(parents=True)
                make = partial(_written, root, classes, part)
            else:
                make = partial(_checked, part)
            for first in range(0, len(part.positions), _CHUNK_IMAGES):
                made = pool.map(
                    partial(_tried, make), part.positions[first : first + _CHUNK_IMAGES]
                )
                for row in made:
                    if isinstance(row, UnusableImage):
                        unusable.append(row)
                    else:
                        rows[part.split].append(row)
                    done += 1
                    if on_image:
                        on_image(done, total)
    expect_usable(unusable, total)
    return rows


def _tried(make: Callable[[int], Row], position: int) -> Row | UnusableImage:
    try:
        return make(position)
    except UnusableImage as error:
        return error


def _written(root: Path, classes: tuple[str, ...], part: Part, position: int) -> Row:
    label = int(part.images.labels[position])
    path = f"{part.split}/{classes[label]}/{part.images.names[position]}"
    found = part.images.write(position, root / path)
    return Row(path, label, found.sha256, found.bytes)


def _checked(part: Part, position: int) -> Row:
    files = part.images.files
    assert files is not None
    found = files.check(position)
    label = int(part.images.labels[position])
    return Row(files.paths[position], label, found.sha256, found.bytes)
