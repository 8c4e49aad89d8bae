"""ImageNet-1k where it stands. Classes are always the catalog's 1,000, whatever is on the disk.

One of: what `mixnet prepare imagenet` left, whose listing knows every file; train/<wnid>/ and
val/<wnid>/; or train/<wnid>/ and a flat val/ with a file of labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mixnet_core.data.imagenet.classes import label_of, wnids
from mixnet_core.data.imagenet.listing import Split, has_listing, read_facts, read_listing
from mixnet_core.data.imagenet.val_labels import read_val_labels
from mixnet_core.data.sources.file_images import files_as_images
from mixnet_core.data.sources.image_folder import (
    Listing,
    checked_root,
    class_names,
    entries,
    has_images,
    is_image,
    listed_split,
    listing_digest,
    stamp,
)
from mixnet_core.data.sources.source import ImageFile, Images, Source
from mixnet_core.errors import DatasetError

_NAMED = 3


def open_imagenet(path: str, *, val_labels: str | None = None, subset: bool = False) -> Source:
    """Lists the images; a listing's are not looked at, others as `image_folder` does it.

    Args:
        val_labels: of a val/ without class folders; see `val_labels.read_val_labels`.
        subset: classes may have no images.

    Raises:
        DatasetError: no folder, a class is missing, a folder is no class of the catalog, labels are
            missing or wrong, or as `open_image_folder`.
        IntegrityError: the listing is damaged.
        MachineError: something in it cannot be read.
    """
    root = checked_root(path)
    val = flat_val(root, val_labels)
    if has_listing(root):
        return _from_listing(root, subset)
    train = _folders(root, "train", subset)
    if val is None and (root / "val").is_dir():
        val = _folders(root, "val", subset)
    lines = [*train.lines, *(val.lines if val else ())]
    return Source(
        identity={"listing": listing_digest(root, lines)},
        classes=wnids(),
        train=train.as_images(root),
        val=val.as_images(root) if val else None,
        ignored_files=train.ignored + (val.ignored if val else 0),
        sparse=subset,
    )


def expect_all_classes(
    place: str, found: Iterable[str], *, folders: Iterable[str] = (), subset: bool
) -> None:
    """Raises DatasetError where classes of the catalog are missing, or others are there.

    Args:
        found: classes with images.
        folders: of classes, empty ones too.
    """
    there = set(found)
    unknown = sorted((there | set(folders)) - set(wnids()))
    if unknown:
        raise DatasetError(
            f"{place} has {len(unknown)} folders that are no classes of ImageNet's 1,000, the "
            f"first is {unknown[0]!r}: remove them, or set data.source to image_folder"
        )
    missing = [wnid for wnid in wnids() if wnid not in there]
    if missing and not subset:
        some = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise DatasetError(
            f"{place} lacks images of {len(missing)} of ImageNet's 1,000 classes ({some}): put "
            "them there, or set data.subset to true to go without; labels stay the same either way"
        )


def listed_val(root: Path, *, subset: bool) -> Source | None:
    """A listing's val images, as both of its splits; None where it has none.

    Raises:
        DatasetError: a class is missing.
        IntegrityError: the listing is damaged.
    """
    val = _listed(root, "val", subset)
    return None if val is None else _of_listing(root, val, val, subset)


def _from_listing(root: Path, subset: bool) -> Source:
    train, val = _listed(root, "train", subset), _listed(root, "val", subset)
    if train is None:
        raise DatasetError(f"{root} has no training images: unpack the archive of train too")
    return _of_listing(root, train, val, subset)


def _of_listing(root: Path, train: Images, val: Images | None, subset: bool) -> Source:
    return Source(
        identity={
            "fingerprint": read_facts(root)["fingerprint"],
            "place": str(root.resolve()),
        },
        classes=wnids(),
        train=train,
        val=val,
        sparse=subset,
    )


def _listed(root: Path, split: Split, subset: bool) -> Images | None:
    listed = read_listing(root, split) if read_facts(root)["counts"].get(split) else []
    if not listed:
        return None
    expect_all_classes(f"{root / split}", {row.wnid for row in listed}, subset=subset)
    return files_as_images(
        root,
        [row.path for row in listed],
        tuple(row.path.rpartition("/")[2] for row in listed),
        np.array([label_of()[row.wnid] for row in listed], np.int32),
        known=[ImageFile(row.sha256, row.bytes) for row in listed],
    )


def _folders(root: Path, split: str, subset: bool) -> Listing:
    return listed_split(root, split, classes_there(root / split, subset=subset), wnids())


def classes_there(split: Path, *, subset: bool) -> tuple[str, ...]:
    """The class folders of a split that have images.

    Raises:
        DatasetError: a class is missing or its folder is empty, none has images, a folder is no
            class of the catalog.
    """
    found = class_names(split)
    filled = tuple(name for name in found if has_images(split / name))
    expect_all_classes(str(split), filled, folders=found, subset=subset)
    if not filled:
        raise DatasetError(f"{split} has no images in its class folders: add some")
    return filled


def is_flat(split: Path) -> bool:
    """Whether a split's images are not in class folders."""
    return not any(entry.is_dir() for entry in entries(split))


def flat_val(root: Path, val_labels: str | None) -> Listing | None:
    """A flat val/'s images with the labels of a file; None where val/ is not flat, or not there.

    Raises:
        DatasetError: there is no such file or it is not needed, it does not fit the images, or as
            `open_image_folder`.
    """
    folder = root / "val"
    if has_listing(root) or not folder.is_dir() or not is_flat(folder):
        if val_labels is not None:
            raise DatasetError(
                f"data.val_labels is {val_labels}, but {root} has no val/ without class folders "
                "that needs it: set it to null"
            )
        return None
    if val_labels is None:
        raise DatasetError(
            f"{folder} has no class folders: name the file of its images' labels as "
            "data.val_labels, or sort them into folders"
        )
    every = entries(folder)
    images = [entry for entry in every if is_image(folder, entry)]
    if not images:
        raise DatasetError(f"{folder} has no images: add them, or remove the folder")
    labels = read_val_labels(Path(val_labels).expanduser(), [entry.name for entry in images])
    return Listing(
        paths=[f"val/{entry.name}" for entry in images],
        labels=labels,
        lines=[
            f"{stamp(entry, f'val/{entry.name}')}\0{label}"
            for entry, label in zip(images, labels, strict=True)
        ],
        ignored=len(every) - len(images),
    )
