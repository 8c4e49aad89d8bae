"""A prepared dataset on disk, and reading it back.

train/<class>/<image>  select/<class>/<image>  val/<class>/<image>
train.csv  select.csv  val.csv     path,label,sha256; a row an image, by label, then by name
classes.txt                        a name a line, in label order
manifest.json                      how it came about, its counts and its fingerprint
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.files import os_errors_explained, read_json
from mixnet_core.values import PreparedDataset

FORMAT = 1
SPLITS = ("train", "select", "val")
_HEADER = ["path", "label", "sha256"]
_REMEDY = "run `mixnet prepare` again to have it made anew"


class Row(NamedTuple):
    """An image: `path` from the dataset's root with slashes, `sha256` hex, of the file."""

    path: str
    label: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Index:
    """The images of one split.

    Attributes:
        root: the prepared dataset's folder.
        paths: from `root`, ordered by label, then by name.
        labels: (len(paths),) int32, read-only.
    """

    root: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int32]


def read_index(root: Path, split: str) -> Index:
    """The index of "train", "select" or "val".

    Raises:
        DatasetError: no dataset was prepared at `root`.
        IntegrityError: the index is damaged.
        MachineError: it cannot be read.
    """
    rows = _read_rows(root, split, len(_read_classes(root)))
    labels = np.array([row.label for row in rows], np.int32)
    labels.setflags(write=False)
    return Index(root, tuple(row.path for row in rows), labels)


def open_prepared(root: Path) -> PreparedDataset:
    """A prepared dataset, checked: every index against the fingerprint, every image for presence.

    The images' content is not read: training and evaluation decode it anyway.

    Raises:
        DatasetError: no dataset was prepared at `root`.
        IntegrityError: the manifest, an index or the list of classes is damaged or an image is
            missing.
        MachineError: it cannot be read.
    """
    manifest = read_manifest(root)
    classes = _read_classes(root)
    rows = {split: _read_rows(root, split, len(classes)) for split in SPLITS}
    if manifest["counts"] != counts_by_class(classes, rows):
        raise IntegrityError(f"the indexes of {root} do not fit its manifest's counts: {_REMEDY}")
    actual = dataset_fingerprint(classes, rows)
    if manifest["fingerprint"] != actual:
        raise IntegrityError(
            f"the indexes of {root} have fingerprint {actual}, its manifest says "
            f"{manifest['fingerprint']}: {_REMEDY}"
        )
    for split in SPLITS:
        _expect_images(root, split, classes, rows[split])
    return PreparedDataset(
        root=str(root.resolve()),
        fingerprint=actual,
        classes=classes,
        counts={split: len(rows[split]) for split in SPLITS},
        reused=True,
    )


def read_manifest(root: Path) -> dict[str, Any]:
    """`manifest.json`, with at least format, key, counts and fingerprint.

    Raises:
        DatasetError: no dataset was prepared at `root`.
        IntegrityError: it is damaged, or of another format.
    """
    path = root / "manifest.json"
    if not path.is_file():
        raise DatasetError(f"no prepared dataset at {root}: run `mixnet prepare` first")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not {"key", "counts", "fingerprint"} <= manifest.keys():
        raise IntegrityError(f"{path} is no dataset's manifest: {_REMEDY}")
    if manifest.get("format") != FORMAT:
        raise IntegrityError(
            f"{path} has format {manifest.get('format')!r}, expected {FORMAT}: {_REMEDY}"
        )
    return manifest


def write_index(root: Path, split: str, rows: Iterable[Row]) -> None:
    """Writes into a folder that is not in its place yet, so not aside once more."""
    with (root / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(rows)


def write_classes(root: Path, classes: tuple[str, ...]) -> None:
    """As `write_index`."""
    (root / "classes.txt").write_bytes("".join(f"{name}\n" for name in classes).encode())


def counts_by_class(
    classes: tuple[str, ...], rows: Mapping[str, Iterable[Row]]
) -> dict[str, dict[str, int]]:
    """Images a split and class, e.g. {"train": {"0": 120, ...}, ...}."""
    counted = {split: Counter(row.label for row in rows[split]) for split in SPLITS}
    return {
        split: {name: counted[split][label] for label, name in enumerate(classes)}
        for split in SPLITS
    }


def dataset_fingerprint(classes: tuple[str, ...], rows: Mapping[str, Iterable[Row]]) -> str:
    """Hex sha256 over the classes and every image's split, label and content.

    Neither file names nor the folder's place take part, so it is the same on every machine.
    """
    digest = hashlib.sha256(json.dumps(classes).encode())
    for split in SPLITS:
        for label, sha256 in sorted((row.label, row.sha256) for row in rows[split]):
            digest.update(f"{split} {label} {sha256}\n".encode())
    return digest.hexdigest()


def _read_classes(root: Path) -> tuple[str, ...]:
    text = _read_text(root, root / "classes.txt")
    # Not splitlines(): it also splits at characters that a folder's name may contain.
    *names, rest = text.split("\n")
    if rest or not names or len(set(names)) != len(names):
        raise IntegrityError(f"{root / 'classes.txt'} is damaged: {_REMEDY}")
    return tuple(names)


def _read_rows(root: Path, split: str, classes: int) -> list[Row]:
    if split not in SPLITS:
        raise DatasetError(f"no split {split!r}: expected one of {', '.join(SPLITS)}")
    path = root / f"{split}.csv"
    reader = csv.reader(io.StringIO(_read_text(root, path), newline=""))
    try:
        header, *lines = reader
        if header != _HEADER:
            raise ValueError(f"its header is {','.join(header)}, expected {','.join(_HEADER)}")
        rows = [Row(image, int(label), sha256) for image, label, sha256 in lines]
    except (ValueError, csv.Error) as error:
        raise IntegrityError(f"{path} is damaged ({error}): {_REMEDY}") from error
    if not rows:
        raise IntegrityError(f"{path} lists no images: {_REMEDY}")
    for row in rows:
        if not 0 <= row.label < classes:
            raise IntegrityError(
                f"{path} gives {row.path} the label {row.label}, expected 0 to {classes - 1}: "
                f"{_REMEDY}"
            )
        # An index leads nowhere outside its own split, whoever wrote it.
        if not row.path.startswith(f"{split}/") or ".." in row.path.split("/"):
            raise IntegrityError(f"{path} has the path {row.path!r} outside {split}/: {_REMEDY}")
    return rows


def _read_text(root: Path, path: Path) -> str:
    if not root.is_dir():
        raise DatasetError(f"no prepared dataset at {root}: run `mixnet prepare` first")
    if not path.is_file():
        raise IntegrityError(f"{path} is missing: {_REMEDY}")
    with os_errors_explained(path, "read"):
        content = path.read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} is damaged ({error}): {_REMEDY}") from error


def _expect_images(root: Path, split: str, classes: tuple[str, ...], rows: list[Row]) -> None:
    indexed = {row.path for row in rows}
    there: set[str] = set()
    for name in classes:
        folder = root / split / name
        if folder.is_dir():
            with os_errors_explained(folder, "read"), os.scandir(folder) as entries:
                there.update(f"{split}/{name}/{entry.name}" for entry in entries)
    missing = sorted(indexed - there)
    if missing:
        raise IntegrityError(
            f"{len(missing)} of {len(indexed)} images of {root / split} are missing, the first is "
            f"{missing[0]}: {_REMEDY}"
        )
