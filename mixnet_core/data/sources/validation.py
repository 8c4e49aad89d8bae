"""The val split alone, for whoever only measures: no training image is read, none need be there."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.listing import has_listing
from mixnet_core.data.sources.image_folder import Listing, class_names, listed_split, listing_digest
from mixnet_core.data.sources.imagenet import classes_there, flat_val, listed_val
from mixnet_core.data.sources.source import Source
from mixnet_core.errors import DatasetError
from mixnet_core.recipe_sections import Data


def open_validation(data: Data) -> Source | None:
    """The source's val images, as both of its splits; None where val is cut from train.

    A folder that has neither train/ nor val/ is taken for what val/ holds: a folder a class.

    Raises:
        DatasetError: there is no folder, or as the source raises it.
        IntegrityError, MachineError: as the source.
    """
    if data.source not in ("image_folder", "imagenet") or data.path is None:
        return None
    root = Path(data.path).expanduser()
    if not root.is_dir():
        raise DatasetError(f"{data.path} is no folder: expected one of images, a folder a class")
    if data.source == "imagenet":
        return _imagenet(root, data)
    if (root / "val").is_dir():
        named = class_names(root / "val")
        classes = class_names(root / "train") if (root / "train").is_dir() else named
        unknown = sorted(set(named) - set(classes))
        if unknown:
            raise DatasetError(
                f"{root / 'val'} has class {unknown[0]!r}, which {root / 'train'} lacks: expected "
                "the same folder names in both"
            )
        return _source(root, listed_split(root, "val", named, classes), classes)
    if (root / "train").is_dir():
        return None
    classes = class_names(root)
    return _source(root.parent, listed_split(root.parent, root.name, classes, classes), classes)


def _imagenet(root: Path, data: Data) -> Source | None:
    if has_listing(root):
        return listed_val(root, subset=data.subset)
    flat = flat_val(root, data.val_labels)
    if flat is not None:
        return _source(root, flat, wnids(), sparse=data.subset)
    split = root / "val" if (root / "val").is_dir() else root
    if split == root and (root / "train").is_dir():
        return None
    there = classes_there(split, subset=data.subset)
    listing = listed_split(split.parent, split.name, there, wnids())
    return _source(split.parent, listing, wnids(), sparse=data.subset)


def _source(root: Path, val: Listing, classes: tuple[str, ...], *, sparse: bool = False) -> Source:
    images = val.as_images(root)
    return Source(
        identity={"listing": listing_digest(root, val.lines)},
        classes=classes,
        train=images,
        val=images,
        ignored_files=val.ignored,
        sparse=sparse,
    )
