"""A prepared dataset on disk, and reading it back.

train.csv  select.csv  val.csv     path,label,sha256,bytes; one row per image, by label, then name;
                                   only val.csv where nobody trains
classes.txt                        one name per line, in label order
duplicates.csv                     images that stand more than once: see `data.overlap`
manifest.json                      how it came about, its layout, its counts and its fingerprint

Where the images are, by layout:

links       train/<class>/<image>  select/<class>/<image>  val/<class>/<image>
in_place    where they were: the manifest names their folder, from which the rows' paths start
mindrecord  train-00000.mindrecord, ...: shards; see `data.mindrecord`
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.account import Account
from mixnet_core.data.overlap import Copy, counted, duplicates
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.runs.values import Overlap, PreparedDataset
from mixnet_core.storage.files import os_errors_explained, read_json
from mixnet_core.storage.mirror.holding import hold

FORMAT = 2
SPLITS = ("train", "select", "val")
LAYOUTS = ("links", "in_place", "mindrecord")
_HEADER = ["path", "label", "sha256", "bytes"]
_THREADS = 16
_REMEDY = "run `mixnet prepare` again to have it made anew"


class Row(NamedTuple):
    """Describes an image.

    Attributes:
        path: from the images' root, with slashes.
        sha256: hex, of the file.
        bytes: size of the file.
    """

    path: str
    label: int
    sha256: str
    bytes: int


@dataclass(frozen=True, eq=False)
class Index:
    """Lists the images of one split.

    Attributes:
        root: the folder that `paths` start from.
        paths: ordered by label, then by name; where there are shards, only names.
        labels: (len(paths),) int32, read-only.
        sizes: of the files, bytes; (len(paths),) int64, read-only. None: not known.
        shards: MindRecord files that hold the images, in this order.
    """

    root: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int32]
    sizes: NDArray[np.int64] | None = None
    shards: tuple[Path, ...] = ()

    @property
    def positions(self) -> NDArray[np.int32]:
        """Returns the positions of all images: (len(paths),)."""
        return np.arange(len(self.paths), dtype=np.int32)


def read_index(root: Path, split: str) -> Index:
    """Reads the index of "train", "select" or "val".

    Raises:
        DatasetError: no dataset was prepared at `root`.
        IntegrityError: the index is damaged.
        MachineError: it cannot be read.
    """
    rows = read_rows(root, split)
    labels = np.array([row.label for row in rows], np.int32)
    labels.setflags(write=False)
    sizes = np.array([row.bytes for row in rows], np.int64)
    sizes.setflags(write=False)
    manifest = read_manifest(root)
    # Where they are a store's mirror, nobody removes that to make room.
    hold(images_root(root, manifest))
    return Index(
        images_root(root, manifest),
        tuple(row.path for row in rows),
        labels,
        sizes,
        tuple(
            root / shard["file"]
            for shard in manifest.get("shards", {}).get(split, ())
            if shard["file"].endswith(".mindrecord")
        ),
    )


def read_rows(root: Path, split: str) -> list[Row]:
    """Reads the rows of "train", "select" or "val", in order; there need be no manifest yet.

    Raises:
        DatasetError, IntegrityError, MachineError: as `read_index`.
    """
    return _read_rows(root, split, len(_read_classes(root)))


def images_root(root: Path, manifest: Mapping[str, Any]) -> Path:
    """Returns the folder that the rows' paths start from."""
    return Path(manifest["images"]) if manifest["layout"] == "in_place" else root


def open_prepared(root: Path) -> PreparedDataset:
    """Opens a prepared dataset and checks it.

    Every index is compared with the fingerprint, and every image has to be there with its size. The
    images' content is not read: training and evaluation decode it anyway.

    Raises:
        DatasetError: no dataset was prepared at `root`.
        IntegrityError: the manifest, an index or the list of classes is damaged or an image is
            missing.
        MachineError: it cannot be read.
    """
    manifest = read_manifest(root)
    classes = _read_classes(root)
    splits = manifest.get("splits", SPLITS)
    rows = {split: _read_rows(root, split, len(classes)) for split in splits}
    if manifest["counts"] != counts_by_class(classes, rows):
        raise IntegrityError(f"the indexes of {root} do not fit its manifest's counts: {_REMEDY}")
    actual = dataset_fingerprint(classes, rows)
    if manifest["fingerprint"] != actual:
        raise IntegrityError(
            f"the indexes of {root} have fingerprint {actual}, its manifest says "
            f"{manifest['fingerprint']}: {_REMEDY}"
        )
    for split in splits:
        if manifest["layout"] == "mindrecord":
            _expect_shards(root, manifest["shards"][split])
        else:
            _expect_images(images_root(root, manifest), split, rows[split])
    return PreparedDataset(
        root=str(root.resolve()),
        fingerprint=actual,
        classes=classes,
        counts={split: len(rows[split]) for split in splits},
        val_fingerprint=dataset_fingerprint(classes, {"val": rows["val"]}),
        notes=Account.from_json(manifest.get("account", {})).in_short,
        # Not the manifest's: datasets that earlier versions prepared have none.
        overlap=counted(duplicates_in(classes, rows), splits),
        reused=True,
    )


def overlap_of(dataset: PreparedDataset) -> Overlap:
    """Returns which images stand more than once, counted now where the value does not say it.

    Raises:
        DatasetError, IntegrityError, MachineError: as `read_index`.
    """
    if dataset.overlap is not None:
        return dataset.overlap
    rows = {split: read_rows(Path(dataset.root), split) for split in dataset.counts}
    return counted(duplicates_in(dataset.classes, rows), tuple(rows))


def read_manifest(root: Path) -> dict[str, Any]:
    """Reads `manifest.json`, which has at least format, key, counts and fingerprint.

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
    if not _knows_its_layout(manifest):
        raise IntegrityError(f"{path} has no layout that is known: {_REMEDY}")
    if not _has_its_form(manifest):
        raise IntegrityError(f"{path} has splits or an account of another form: {_REMEDY}")
    return manifest


def write_index(root: Path, split: str, rows: Iterable[Row]) -> None:
    """Writes a split's index into a folder that is still aside, so not aside once more."""
    with (root / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(rows)


def write_classes(root: Path, classes: tuple[str, ...]) -> None:
    """Writes the classes, in label order, into a folder that is still aside."""
    (root / "classes.txt").write_bytes("".join(f"{name}\n" for name in classes).encode())


def counts_by_class(
    classes: tuple[str, ...], rows: Mapping[str, Iterable[Row]]
) -> dict[str, dict[str, int]]:
    """Counts the images per split and class, e.g. {"train": {"0": 120, ...}, ...}."""
    counted = {split: Counter(row.label for row in rows[split]) for split in rows}
    return {
        split: {name: counted[split][label] for label, name in enumerate(classes)} for split in rows
    }


def duplicates_in(classes: tuple[str, ...], rows: Mapping[str, Iterable[Row]]) -> list[list[Copy]]:
    """Groups the rows whose images are the same, byte for byte (`data.overlap`)."""
    return duplicates(
        lambda: (
            Copy(row.sha256, split, classes[row.label], row.path)
            for split in rows
            for row in rows[split]
        )
    )


def dataset_fingerprint(classes: tuple[str, ...], rows: Mapping[str, Iterable[Row]]) -> str:
    """Returns the hex sha256 over the classes and every image's split, label and content.

    Neither file names nor the folder's path take part, so it is the same on every machine.
    """
    digest = hashlib.sha256(json.dumps(classes).encode())
    for split in SPLITS:
        for label, sha256 in sorted((row.label, row.sha256) for row in rows.get(split, ())):
            digest.update(f"{split} {label} {sha256}\n".encode())
    return digest.hexdigest()


def _knows_its_layout(manifest: Mapping[str, Any]) -> bool:
    """Tells whether a manifest says where the images are."""
    layout, shards = manifest.get("layout"), manifest.get("shards")
    if layout == "in_place":
        return isinstance(manifest.get("images"), str)
    if layout == "mindrecord":
        return isinstance(shards, dict) and all(
            isinstance(split, list)
            and all(
                isinstance(shard, dict)
                and isinstance(shard.get("file"), str)
                and isinstance(shard.get("bytes"), int)
                for shard in split
            )
            for split in map(shards.get, SPLITS)
        )
    return layout in LAYOUTS


def _has_its_form(manifest: Mapping[str, Any]) -> bool:
    """Tells whether what earlier versions did not store is absent or as it is stored now."""
    splits = manifest.get("splits", [*SPLITS])
    try:
        Account.from_json(manifest.get("account", {}))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return False
    return isinstance(splits, list) and "val" in splits and all(name in SPLITS for name in splits)


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
        rows = [Row(image, int(label), sha256, int(size)) for image, label, sha256, size in lines]
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
        # An index leads nowhere outside the images' folder, whoever wrote it.
        if row.path.startswith("/") or ".." in row.path.split("/") or "\0" in row.path:
            raise IntegrityError(f"{path} has the path {row.path!r} outside its folder: {_REMEDY}")
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


def _expect_images(root: Path, split: str, rows: list[Row]) -> None:
    """Checks presence and size of every file, in threads: a network disk answers each one late."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        folder, _, name = row.path.rpartition("/")
        wanted[folder].add(name)
    sizes: dict[str, int] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for found in pool.map(partial(_sizes, root), wanted, wanted.values()):
            sizes.update(found)
    missing = [row.path for row in rows if row.path not in sizes]
    if missing:
        raise IntegrityError(
            f"{len(missing)} of {len(rows)} images of split {split} are missing in {root}, the "
            f"first is {missing[0]}: put them back, or {_REMEDY}"
        )
    changed = [row for row in rows if sizes[row.path] != row.bytes]
    if changed:
        raise IntegrityError(
            f"{len(changed)} of {len(rows)} images of split {split} in {root} have another size "
            f"than when they were prepared, the first is {changed[0].path} with "
            f"{sizes[changed[0].path]} bytes instead of {changed[0].bytes}: put them back, or "
            f"{_REMEDY}"
        )


def _sizes(root: Path, folder: str, names: set[str]) -> dict[str, int]:
    """Returns the sizes of those of a folder's files that exist: path from `root` -> bytes."""
    sizes: dict[str, int] = {}
    prefix = f"{folder}/" if folder else ""
    with os_errors_explained(root / folder, "read"):
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    # A link may lead nowhere any more.
                    with suppress(FileNotFoundError):
                        if entry.name in names:
                            sizes[prefix + entry.name] = entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return {}
    return sizes


def _expect_shards(root: Path, shards: Iterable[Mapping[str, Any]]) -> None:
    for shard in shards:
        path = root / shard["file"]
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise IntegrityError(f"{path} {found}, expected {shard['bytes']} bytes: {_REMEDY}")
