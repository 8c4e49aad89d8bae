"""Images named by lists: train.csv and optionally val.csv in a folder, read from where they are.

Columns: path, inside that folder, and label (a whole number from 0) or class (a name). Which
classes there are, in label order: the lines of classes.txt where that stands beside the lists; else
the sorted names of both lists, or the numbers up to the greatest label.
"""

from __future__ import annotations

import csv
import io
import posixpath
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from mixnet_core.data.class_folders import UNUSABLE, listing_digest
from mixnet_core.data.class_names import read_classes
from mixnet_core.data.download import Fetch
from mixnet_core.data.file_images import files_as_images
from mixnet_core.data.room import Room, list_room
from mixnet_core.data.source import Claim, DataSource, Images, Source
from mixnet_core.errors import DatasetError
from mixnet_core.recipe.sections import Data
from mixnet_core.storage.files import os_errors_explained

_LISTS = {"train": "train.csv", "val": "val.csv"}
_COLUMNS = "expected a header with path and label, or path and class"
_NAMED = 3
# A label beyond is rather a mistake, and would make as many classes.
_MOST_CLASSES = 1_000_000


class Lists(DataSource):
    """Opens lists; classes are the lists' values, or the lines of classes.txt."""

    needs_path = True
    are_files = True
    takes_subset = True
    layout = "in_place"

    def claim(self, folder: Path, *, expected: bool) -> Claim:
        """Claims a folder with a list and without class folders, and any expected one."""
        if (folder / _LISTS["train"]).is_file() and not (folder / "train").is_dir():
            return Claim.SHOWN
        return Claim.EXPECTED if expected else Claim.NO

    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns the lists' classes, as `open_lists`."""
        return open_lists(data.path or "", subset=data.subset).classes

    def rooms(self, data: Data) -> list[Room]:
        """Estimates what copies of the listed files take; raises what `open` does, and OSError."""
        root = Path(data.path or "").expanduser()
        return [list_room(root, paths) for paths in listed_paths(data.path or "").values()]

    def quick(self, data: Data, datasets: Path) -> Source | None:
        """Lists the images, as `open_lists`."""
        return open_lists(data.path or "", subset=data.subset)

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Lists the images, as `open_lists`."""
        return open_lists(data.path or "", subset=data.subset)


SOURCE = Lists()


def open_lists(path: str, *, subset: bool = False) -> Source:
    """Lists the images; one that is replaced by another of equal size and time goes unnoticed.

    Args:
        subset: classes may have no training images.

    Raises:
        DatasetError: no folder or no train.csv, a column is missing, a path leads outside, is there
            twice or is no file, a label is no number or not known, a class is missing or its name
            cannot be a folder's.
        MachineError: something cannot be read.
    """
    root = checked_lists(path)
    column, train = _read(root / _LISTS["train"])
    val_column, val = column, None
    if (root / _LISTS["val"]).is_file():
        val_column, val = _read(root / _LISTS["val"])
    if val_column != column:
        raise DatasetError(
            f"{root / 'train.csv'} has the column {column}, {root / 'val.csv'} has {val_column}: "
            "give both the same"
        )
    both = sorted(train.keys() & (val or {}).keys())
    if both:
        raise DatasetError(f"{both[0]} is in train.csv and val.csv of {root}: remove one")
    classes = _classes(root, column, [*train.values(), *(val or {}).values()])
    label_of = _labels(column, classes)
    lines: list[str] = []
    images = {
        split: _images(root, split, found, label_of, lines)
        for split, found in (("train", train), ("val", val))
        if found is not None
    }
    if not subset:
        _expect_all(root, column, label_of, train.values())
    return Source(
        classes=classes,
        train=images["train"],
        val=images.get("val"),
        identity={"listing": listing_digest(root, lines)},
        sparse=subset,
    )


def checked_lists(path: str) -> Path:
    """Returns a path as a folder that has train.csv.

    Raises:
        DatasetError: it has none.
    """
    root = Path(path).expanduser()
    if not (root / _LISTS["train"]).is_file():
        raise DatasetError(f"data.path {path} has no train.csv: {_COLUMNS}, one row per image")
    return root.resolve()


def listed_paths(path: str) -> dict[str, list[str]]:
    """Reads the paths of each list, whether or not there are files at them.

    Raises:
        DatasetError, MachineError: as `open_lists`.
    """
    root = checked_lists(path)
    return {
        split: list(_read(root / name)[1])
        for split, name in _LISTS.items()
        if (root / name).is_file()
    }


def _read(file: Path) -> tuple[str, dict[str, str]]:
    """Returns the name of the column with labels, and path -> value in that column."""
    with os_errors_explained(file, "read"):
        content = file.read_bytes()
    found: dict[str, str] = {}
    try:
        # Not splitlines(): it also splits at characters that a name may contain.
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        columns = rows.fieldnames or []
        column = next((name for name in ("label", "class") if name in columns), None)
        if "path" not in columns or column is None:
            raise DatasetError(f"{file} has the columns {', '.join(columns)}: {_COLUMNS}")
        for row in rows:
            where = f"{file}, line {rows.line_num}"
            if None in row:
                raise DatasetError(
                    f"{where}: more values than columns: put what has a comma into quotes"
                )
            path, value = _inside(where, file.parent, row["path"] or ""), row[column] or ""
            if not value:
                raise DatasetError(f"{where}: {path} has no {column}: fill it in")
            if path in found:
                raise DatasetError(f"{where}: {path} is there twice: remove one")
            found[path] = value
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} is no CSV file in UTF-8 ({error}): {_COLUMNS}") from error
    if not found:
        raise DatasetError(f"{file} lists no images: {_COLUMNS}, one row per image")
    return column, found


def _inside(where: str, root: Path, path: str) -> str:
    """Returns a path in its one spelling, so that an image is not taken for two."""
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise DatasetError(
            f"{where}: path {path!r} is not inside the folder: expected a path from {root}"
        )
    if UNUSABLE.search(path):
        raise DatasetError(f"{where}: path {path!r} is not plain text: rename the file")
    return posixpath.normpath(path)


def _classes(root: Path, column: str, values: Collection[str]) -> tuple[str, ...]:
    file = root / "classes.txt"
    if file.is_file():
        classes = read_classes(file)
    elif column == "class":
        classes = tuple(sorted(set(values)))
    else:
        greatest = max((int(value) for value in values if value.isdecimal()), default=0)
        if greatest >= _MOST_CLASSES:
            raise DatasetError(
                f"the lists of {root} have label {greatest}, expected at most {_MOST_CLASSES - 1:,}"
            )
        width = len(str(greatest))
        classes = tuple(f"{label:0{width}d}" for label in range(greatest + 1))
    for name in classes:
        # It becomes a folder in the prepared dataset.
        if name in (".", "..") or "/" in name or UNUSABLE.search(name):
            raise DatasetError(
                f"the lists of {root} have the class {name!r}, which cannot be a folder's name: "
                "use another, or labels"
            )
    return classes


def _labels(column: str, classes: Sequence[str]) -> dict[str, int]:
    """Returns a list's value -> label."""
    if column == "class":
        return {name: label for label, name in enumerate(classes)}
    return {str(label): label for label in range(len(classes))}


def _expect_all(root: Path, column: str, label_of: dict[str, int], found: Collection[str]) -> None:
    seen = set(found)
    missing = [value for value in label_of if value not in seen]
    if missing:
        some = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise DatasetError(
            f"{root / _LISTS['train']} has no image of {len(missing)} of {len(label_of)} classes "
            f"({column} {some}): add some, or set data.subset to true to go without"
        )


def _images(
    root: Path, split: str, found: dict[str, str], label_of: dict[str, int], lines: list[str]
) -> Images:
    """Makes the images of one list, and adds one line per image to `lines`.

    The lines tell whether an image changed.
    """
    labelled = []
    for path, value in found.items():
        if value not in label_of:
            raise DatasetError(
                f"{root / _LISTS[split]} gives {path} {value!r}: expected one of {len(label_of)}, "
                f"{' '.join(list(label_of)[:_NAMED])} ..."
            )
        labelled.append((label_of[value], path))
    labelled.sort()
    width = len(str(len(labelled)))
    names = []
    for number, (label, path) in enumerate(labelled):
        size, changed = _size_and_time(root / path, split)
        lines.append(f"{split}\0{path}\0{label}\0{size}\0{changed}")
        # Two folders may have images of one name.
        names.append(f"{number:0{width}d}{posixpath.splitext(path)[1]}")
    labels = np.array([label for label, _ in labelled], np.int32)
    return files_as_images(root, [path for _, path in labelled], tuple(names), labels)


def _size_and_time(file: Path, split: str) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise DatasetError(
            f"{file}, listed in {_LISTS[split]}, cannot be read ({error.strerror}): put it there "
            "or remove its row"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError(f"{file}, listed in {_LISTS[split]}, is no file: remove its row")
    return status.st_size, status.st_mtime_ns
