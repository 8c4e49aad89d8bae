"""The listing that unpacking leaves beside train/ and val/: every image, and a fingerprint.

train.csv  val.csv   path,wnid,bytes,sha256,width,height,notes; by wnid, then by path
imagenet.json        counts, fingerprint, digests of the two files, how it came about; written last
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mixnet_core.data.imagenet.classes import label_of, wnids
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.storage.files import (
    file_aside,
    os_errors_explained,
    read_json,
    sha256_of,
    write_json,
)

FORMAT = 1
Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
_FACTS = "imagenet.json"
_REMEDY = "run `mixnet prepare imagenet` again to have it made anew"


class Listed(NamedTuple):
    """Describes an image.

    Attributes:
        path: from the folder that holds the listing, with slashes: train/<wnid>/<image>.
        wnid: its class.
        bytes: size of the file.
        sha256: hex, of the file.
        width, height: pixels, as stored; 0 where the image was not looked into.
        notes: what is out of the ordinary: words separated by a space; see `inspection`.
    """

    path: str
    wnid: str
    bytes: int
    sha256: str
    width: int
    height: int
    notes: str


def has_listing(root: Path) -> bool:
    """Tells whether `root` is a folder that was unpacked to the end."""
    return (root / _FACTS).is_file()


def read_facts(root: Path) -> dict[str, Any]:
    """Reads `imagenet.json`, which has at least counts, files and fingerprint.

    Raises:
        DatasetError: there is no listing at `root`.
        IntegrityError: it is damaged, or of another format.
        MachineError: it cannot be read.
    """
    path = root / _FACTS
    if not path.is_file():
        raise DatasetError(f"no unpacked ImageNet at {root}: run `mixnet prepare imagenet` first")
    facts = read_json(path)
    if not isinstance(facts, dict) or not {"counts", "files", "fingerprint"} <= facts.keys():
        raise IntegrityError(f"{path} is no listing of ImageNet: {_REMEDY}")
    if facts.get("format") != FORMAT:
        raise IntegrityError(
            f"{path} has format {facts.get('format')!r}, expected {FORMAT}: {_REMEDY}"
        )
    return facts


def read_listing(root: Path, split: Split) -> list[Listed]:
    """Reads the images of a split, by wnid, then by path; [] if only the other was unpacked.

    Raises:
        MixnetError: as `iterate_listing`.
    """
    return list(iterate_listing(root, split))


def iterate_listing(root: Path, split: Split) -> Iterator[Listed]:
    """Yields what `read_listing` reads, one by one: a million of them take half a gigabyte.

    The file's digest is compared with the recorded one; the images themselves are not looked at.

    Raises:
        DatasetError: there is no listing at `root`.
        IntegrityError: it is damaged.
        MachineError: it cannot be read.
    """
    facts = read_facts(root)
    path = root / f"{split}.csv"
    if not path.is_file():
        raise IntegrityError(f"{path} is missing: {_REMEDY}")
    with os_errors_explained(path, "read"):
        actual = sha256_of(path)
        if facts["files"].get(path.name) != actual:
            raise IntegrityError(
                f"{path} has sha256 {actual}, {_FACTS} says {facts['files'].get(path.name)}: "
                f"{_REMEDY}"
            )
    count = 0
    with os_errors_explained(path, "read"):
        for row in rows_of(path, split):
            count += 1
            yield row
    if facts["counts"].get(split) != count:
        raise IntegrityError(
            f"{path} lists {count} images, {_FACTS} says {facts['counts'].get(split)}: {_REMEDY}"
        )


def rows_of(path: Path, split: Split) -> Iterator[Listed]:
    """Yields the rows of a CSV file as `write_rows` wrote it.

    Raises:
        IntegrityError: it is damaged.
        OSError: it cannot be read.
    """
    # One string per class instead of one per image.
    known = {wnid: wnid for wnid in wnids()}
    with path.open(encoding="utf-8", newline="") as file:
        try:
            reader = csv.reader(file, strict=True)
            header = next(reader, None)
            if header != list(Listed._fields):
                raise ValueError(f"its header is {header}")
            for name, wnid, size, sha256, width, height, notes in reader:
                # A listing leads nowhere outside its own split, whoever wrote it.
                if name.rpartition("/")[0] != f"{split}/{wnid}":
                    raise ValueError(f"it has the path {name!r}, expected {split}/{wnid}/<image>")
                yield Listed(name, known[wnid], int(size), sha256, int(width), int(height), notes)
        except KeyError as error:
            raise IntegrityError(f"{path} has the unknown class {error}: {_REMEDY}") from error
        except (ValueError, csv.Error) as error:
            raise IntegrityError(f"{path} is damaged ({error}): {_REMEDY}") from error


def write_rows(path: Path, rows: Iterable[Listed]) -> None:
    """Writes rows to a CSV file as they come.

    Raises:
        MachineError: it cannot be written.
    """
    with file_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Listed._fields)
        writer.writerows(rows)


def write_listing(
    root: Path, rows: Mapping[Split, Iterable[Listed]], facts: Mapping[str, Any]
) -> str:
    """Writes train.csv and val.csv, then imagenet.json.

    Args:
        rows: as `write_splits`.
        facts: JSON, for imagenet.json besides what `write_splits` returns.

    Returns:
        The images' fingerprint.

    Raises:
        MachineError: it cannot be written.
    """
    own = write_splits(root, rows)
    write_facts(root, {**facts, **own})
    return str(own["fingerprint"])


def write_splits(root: Path, rows: Mapping[Split, Iterable[Listed]]) -> dict[str, Any]:
    """Writes train.csv and val.csv.

    Args:
        rows: by wnid, then by path; a split that is not named gets an empty list. They are taken
            one by one and not kept.

    Returns:
        Counts, digests of the files and fingerprint, for `write_facts`.

    Raises:
        MachineError: it cannot be written.
    """
    counts: dict[str, int] = {}
    digest = _fingerprint_start()
    files = {}
    for split in SPLITS:
        path = root / f"{split}.csv"
        counts[split] = 0
        write_rows(path, _counted(rows.get(split, ()), split, counts, digest))
        with os_errors_explained(path, "read"):
            files[path.name] = sha256_of(path)
    return {"counts": counts, "files": files, "fingerprint": digest.hexdigest()}


def write_facts(root: Path, facts: Mapping[str, Any]) -> None:
    """Writes imagenet.json, after everything else: with it the folder counts as finished.

    Raises:
        MachineError: it cannot be written.
    """
    # Once for all: a million images with an fsync each would take hours on a disk.
    os.sync()
    write_json(root / _FACTS, {"format": FORMAT, **facts})


def listing_fingerprint(rows: Mapping[Split, Iterable[Listed]]) -> str:
    """Returns the hex sha256 over the 1,000 classes and every image's split, label and content.

    Neither file names nor the folder's path take part, so it is the same on every machine.

    Args:
        rows: as `write_splits`.
    """
    digest = _fingerprint_start()
    for split in SPLITS:
        for _ in _counted(rows.get(split, ()), split, {split: 0}, digest):
            pass
    return digest.hexdigest()


def _fingerprint_start() -> hashlib._Hash:
    # It begins as data.index.dataset_fingerprint does, so that both mean the same images.
    return hashlib.sha256(json.dumps(wnids()).encode())


def _counted(
    rows: Iterable[Listed], split: Split, counts: dict[str, int], digest: hashlib._Hash
) -> Iterator[Listed]:
    """Hands the rows on, while it counts them and adds them to the fingerprint, class by class."""
    for wnid, images in groupby(rows, key=lambda row: row.wnid):
        contents = []
        for row in images:
            contents.append(row.sha256)
            counts[split] += 1
            yield row
        for sha256 in sorted(contents):
            digest.update(f"{split} {label_of()[wnid]} {sha256}\n".encode())
