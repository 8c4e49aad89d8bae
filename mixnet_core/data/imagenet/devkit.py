"""The class of every image of val, from ILSVRC2012_devkit_t12.tar.gz.

Its ILSVRC2012_validation_ground_truth.txt has one ILSVRC2012_ID per line, in the order of the
images' names; its meta.mat says which class (WNID) has which ID. IDs are no labels: they run from
1, and in another order than the sorted WordNet ids. It is read as torchvision does it
(torchvision/datasets/imagenet.py).
"""

from __future__ import annotations

import io
import tarfile
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixnet_core.data.imagenet.archives import val_name
from mixnet_core.data.imagenet.classes import label_of, wnids
from mixnet_core.errors import DatasetError, InputError, IntegrityError, MachineError
from mixnet_core.storage.files import os_errors_explained

_GROUND_TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
_META = "ILSVRC2012_devkit_t12/data/meta.mat"
# The real ones have 0.2 and 1.5 MB.
_MOST_BYTES = 64 << 20
_FETCH = "fetch the devkit again"


@dataclass(frozen=True)
class Devkit:
    """Holds what the devkit says of the images.

    Attributes:
        val: image's name -> its class.
        train_images: class -> how many images of train it has.
    """

    val: Mapping[str, str]
    train_images: Mapping[str, int]


def read_devkit(path: Path, *, val_images: int | None) -> Devkit:
    """Reads a devkit where it is; nothing is unpacked.

    Args:
        path: of the tar.gz.
        val_images: how many labels there have to be, over all 1,000 classes; None: any number.

    Raises:
        InputError: there is no such file.
        DatasetError: it is another devkit, or has another number of labels or classes.
        IntegrityError: it is cut off or damaged.
        MachineError: it cannot be read, or scipy is missing.
    """
    truth, meta = _files(path)
    classes, counts = _classes(path, meta)
    if val_images is not None and len(classes) != len(wnids()):
        raise DatasetError(
            f"{_META} in {path} has {len(classes)} classes, expected {len(wnids()):,}: {_FETCH}"
        )
    lines = truth.decode("ascii", errors="replace").splitlines()
    if val_images is not None and len(lines) != val_images:
        raise DatasetError(
            f"{_GROUND_TRUTH} in {path} has {len(lines):,} labels, expected {val_images:,}, one an "
            f"image of val: {_FETCH}, or say --subset"
        )
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text.isdecimal() or int(text) not in classes:
            raise IntegrityError(
                f"line {number} of {_GROUND_TRUTH} in {path} is {text[:40]!r}, which is no "
                f"ILSVRC2012_ID of a class: {_FETCH}"
            )
        found[val_name(number)] = classes[int(text)]
    return Devkit(found, counts)


def _files(path: Path) -> tuple[bytes, bytes]:
    if not path.is_file():
        raise InputError(f"no devkit at {path}: check the path")
    with os_errors_explained(path, "read"):
        packed = path.read_bytes()
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
            for info in tar:
                name = info.name.removeprefix("./")
                if name not in (_GROUND_TRUTH, _META) or not info.isreg():
                    continue
                if info.size > _MOST_BYTES:
                    raise IntegrityError(f"{name} in {path} has {info.size:,} bytes: {_FETCH}")
                file = tar.extractfile(info)
                found[name] = file.read() if file else b""
                if len(found) == 2:
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise IntegrityError(f"{path} is cut off or no tar.gz ({error}): {_FETCH}") from error
    for name in (_GROUND_TRUTH, _META):
        if name not in found:
            raise DatasetError(
                f"{path} has no {name}: expected ILSVRC2012_devkit_t12.tar.gz (t3 is another task)"
            )
    return found[_GROUND_TRUTH], found[_META]


def _classes(path: Path, meta: bytes) -> tuple[dict[int, str], dict[str, int]]:
    """Returns ILSVRC2012_ID -> WNID, and WNID -> number of training images.

    Only synsets without children are classes; the others stand for groups of them.
    """
    try:
        rows = [
            (int(row["ILSVRC2012_ID"]), str(row["WNID"]), int(row["num_train_images"]))
            for row in _synsets(path, meta).reshape(-1)
            if int(row["num_children"]) == 0
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{_META} in {path} has no synsets with ILSVRC2012_ID, WNID, num_children and "
            f"num_train_images ({error}): {_FETCH}"
        ) from error
    classes = {number: wnid for number, wnid, _ in rows}
    unknown = [wnid for wnid in classes.values() if wnid not in label_of()]
    if unknown:
        raise DatasetError(
            f"{_META} in {path} has the class {unknown[0]!r}, none of the 1,000: {_FETCH}"
        )
    if len(set(classes.values())) != len(rows):
        raise IntegrityError(f"{_META} in {path} has an id or a class twice: {_FETCH}")
    return classes, {wnid: count for _, wnid, count in rows}


def _synsets(path: Path, meta: bytes) -> Any:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise MachineError(
            "scipy, which reads the devkit's meta.mat, is not installed: run "
            "`pip install scipy`, or give the labels with --val-labels"
        ) from None
    try:
        # MATLAB's version 5 holds arrays only; nothing in it is run or unpickled.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return loadmat(io.BytesIO(meta), squeeze_me=True, variable_names=["synsets"])["synsets"]
    # Its reader raises whatever it stumbles over.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise IntegrityError(f"{_META} in {path} cannot be read ({reason}): {_FETCH}") from error
