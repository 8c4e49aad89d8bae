"""Images named by lists: train.csv and optionally val.csv in a folder, read from where they are.

Columns: path, inside that folder, and label (a whole number from 0) or class (a name). Which
classes there are, in label order: the lines of classes.txt where that stands beside the lists; else
the sorted names of both lists, or the numbers up to the greatest label.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixnet_core.data.sources.file_images import files_as_images
from mixnet_core.data.sources.source import Images, Source
from mixnet_core.errors import DatasetError
from mixnet_core.files import os_errors_explained

_LISTS = {"train": "train.csv", "val": "val.csv"}
_COLUMNS = "expected a header with path and label, or path and class"


def open_lists(path: str) -> Source:
    """Lists the images; one that is replaced by another of equal size and time goes unnoticed.

    Raises:
        DatasetError: no folder or no train.csv, a column is missing, a path leads outside, is there
            twice or is no file, a label is no number or not known.
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
    return Source(
        classes=classes,
        train=_images(root, "train", train, label_of, lines),
        val=None if val is None else _images(root, "val", val, label_of, lines),
        identity={"listing": hashlib.sha256("\n".join([str(root), *lines]).encode()).hexdigest()},
    )


def checked_lists(path: str) -> Path:
    """`path` as a folder that has train.csv.

    Raises:
        DatasetError: it has not.
    """
    root = Path(path).expanduser()
    if not (root / _LISTS["train"]).is_file():
        raise DatasetError(f"data.path {path} has no train.csv: {_COLUMNS}, a row an image")
    return root.resolve()


def counts(path: str) -> dict[str, int]:
    """Images a list; whether they are there is not looked at.

    Raises:
        DatasetError, MachineError: as `open_lists`.
    """
    root = checked_lists(path)
    return {
        split: len(_read(root / name)[1])
        for split, name in _LISTS.items()
        if (root / name).is_file()
    }


def _read(file: Path) -> tuple[str, dict[str, str]]:
    """The name of the column with labels, and each path's value there."""
    with os_errors_explained(file, "read"):
        text = file.read_bytes()
    try:
        rows = csv.DictReader(text.decode("utf-8-sig").splitlines())
        columns = rows.fieldnames or []
        column = next((name for name in ("label", "class") if name in columns), None)
        if "path" not in columns or column is None:
            raise DatasetError(f"{file} has the columns {', '.join(columns)}: {_COLUMNS}")
        found: dict[str, str] = {}
        for row in rows:
            path, value = row["path"] or "", row[column] or ""
            where = f"{file}, line {rows.line_num}"
            if not path or path.startswith("/") or ".." in path.split("/"):
                raise DatasetError(
                    f"{where}: path {path!r} is not inside the folder: expected a path from "
                    f"{file.parent}"
                )
            if not value:
                raise DatasetError(f"{where}: {path} has no {column}: fill it in")
            if path in found:
                raise DatasetError(f"{where}: {path} is there twice: remove one")
            found[path] = value
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} is no CSV file in UTF-8 ({error}): {_COLUMNS}") from error
    if not found:
        raise DatasetError(f"{file} lists no images: {_COLUMNS}, a row an image")
    return column, found


def _classes(root: Path, column: str, values: Sequence[str]) -> tuple[str, ...]:
    file = root / "classes.txt"
    if file.is_file():
        with os_errors_explained(file, "read"):
            classes = tuple(file.read_text(encoding="utf-8").split("\n"))
        classes = classes[:-1] if classes[-1] == "" else classes
        if len(set(classes)) != len(classes) or "" in classes:
            raise DatasetError(f"{file} has an empty or repeated line: expected a class a line")
        return classes
    if column == "class":
        return tuple(sorted(set(values)))
    greatest = max((int(value) for value in values if value.isdecimal()), default=0)
    width = len(str(greatest))
    return tuple(f"{label:0{width}d}" for label in range(greatest + 1))


def _labels(column: str, classes: tuple[str, ...]) -> dict[str, int]:
    """A list's value -> label."""
    if column == "class":
        return {name: label for label, name in enumerate(classes)}
    return {str(label): label for label in range(len(classes))}


def _images(
    root: Path, split: str, found: dict[str, str], label_of: dict[str, int], lines: list[str]
) -> Images:
    """Adds a line an image to `lines`, which tell whether one of them changed."""
    labelled = []
    for path, value in found.items():
        if value not in label_of:
            raise DatasetError(
                f"{root / _LISTS[split]} gives {path} {value!r}: expected one of {len(label_of)}, "
                f"{' '.join(list(label_of)[:3])} ..."
            )
        labelled.append((label_of[value], path))
    labelled.sort()
    width = len(str(len(labelled)))
    names = []
    for number, (label, path) in enumerate(labelled):
        try:
            status = (root / path).stat()
        except OSError as error:
            raise DatasetError(
                f"{root / path}, listed in {_LISTS[split]}, cannot be read ({error.strerror}): put "
                "it there or remove its row"
            ) from error
        lines.append(f"{split}\0{path}\0{label}\0{status.st_size}\0{status.st_mtime_ns}")
        # Two folders may have images of one name.
        names.append(f"{number:0{width}d}{Path(path).suffix}")
    labels = np.array([label for label, _ in labelled], np.int32)
    return files_as_images(root, [path for _, path in labelled], tuple(names), labels)
