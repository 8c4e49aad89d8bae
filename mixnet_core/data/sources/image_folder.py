"""A folder with train/<class>/*.jpg and optionally val/<class>/*.jpg."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.class_folders import (
    Listing,
    checked_root,
    class_names,
    listed_split,
    listing_digest,
)
from mixnet_core.data.download import Fetch
from mixnet_core.data.source import Claim, DataSource, Source
from mixnet_core.errors import DatasetError
from mixnet_core.recipe.sections import Data


class ImageFolder(DataSource):
    """Opens a folder of class folders; labels number train/'s sorted folder names, in val/ too."""

    needs_path = True
    are_files = True

    def claim(self, folder: Path, *, expected: bool) -> Claim:
        """Claims any folder that no other source does."""
        return Claim.OTHERWISE

    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns the sorted folder names of train/.

        Raises:
            DatasetError: there are none.
        """
        return class_names(checked_root(data.path or "") / "train")

    def quick(self, data: Data, datasets: Path) -> Source | None:
        """Lists the images, as `open_image_folder`."""
        return open_image_folder(data.path or "")

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Lists the images, as `open_image_folder`."""
        return open_image_folder(data.path or "")

    def open_val(self, data: Data) -> Source | None:
        """Lists the val images; a folder without train/ and val/ is taken for what val/ holds.

        Raises:
            DatasetError, MachineError: as `open_image_folder`.
        """
        root = Path(data.path or "").expanduser()
        if not root.is_dir():
            raise DatasetError(
                f"{data.path} is no folder: expected one of images, one folder per class"
            )
        if (root / "val").is_dir():
            named = class_names(root / "val")
            classes = class_names(root / "train") if (root / "train").is_dir() else named
            _expect_known(root, named, classes)
            return val_alone(root, listed_split(root, "val", named, classes), classes)
        if (root / "train").is_dir():
            return None
        classes = class_names(root)
        return val_alone(
            root.parent, listed_split(root.parent, root.name, classes, classes), classes
        )


SOURCE = ImageFolder()


def open_image_folder(path: str) -> Source:
    """Lists the images; labels number the sorted folder names of train/, in val/ too.

    Hidden files are ignored. Files without an image's suffix are ignored and counted. An image
    that was replaced by one of equal size and modification time goes unnoticed. Links are
    followed: what counts is the file they lead to.

    Raises:
        DatasetError: no folder, no train/, no classes, a class without images or with a folder
            inside, a class in val/ that train/ lacks, a broken link, a name that cannot be written.
        MachineError: something in it cannot be read.
    """
    root = checked_root(path)
    classes = class_names(root / "train")
    train = listed_split(root, "train", classes, classes)
    val = None
    if (root / "val").is_dir():
        val_classes = class_names(root / "val")
        _expect_known(root, val_classes, classes)
        val = listed_split(root, "val", val_classes, classes)
    lines = [*train.lines, *(val.lines if val else ())]
    return Source(
        identity={"listing": listing_digest(root, lines)},
        classes=classes,
        train=train.as_images(root),
        val=val.as_images(root) if val else None,
        ignored_files=train.ignored + (val.ignored if val else 0),
    )


def val_alone(
    root: Path, val: Listing, classes: tuple[str, ...], *, sparse: bool = False
) -> Source:
    """Makes a source of val images alone: they are both of its splits.

    Args:
        root: the folder that the listing's paths start from.
        sparse: classes may have no images.
    """
    images = val.as_images(root)
    return Source(
        identity={"listing": listing_digest(root, val.lines)},
        classes=classes,
        train=images,
        val=images,
        ignored_files=val.ignored,
        sparse=sparse,
    )


def _expect_known(root: Path, named: tuple[str, ...], classes: tuple[str, ...]) -> None:
    unknown = sorted(set(named) - set(classes))
    if unknown:
        raise DatasetError(
            f"{root / 'val'} has class {unknown[0]!r}, which {root / 'train'} lacks: expected the "
            "same folder names in both"
        )
