"""A folder with train/<class>/*.jpg and optionally val/<class>/*.jpg."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mixnet_core.data.account import Account, Tally
from mixnet_core.data.class_folders import Listing, class_names, listed_split, listing_digest
from mixnet_core.data.class_names import labels_by_name, near
from mixnet_core.data.download import Fetch
from mixnet_core.data.room import Room, split_room
from mixnet_core.data.source import Claim, DataSource, Source
from mixnet_core.data.split_folders import (
    SplitFolders,
    expect_train,
    holds_folders,
    split_folders,
)
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
        splits = split_folders(checked_root(data.path or ""))
        return class_names(splits.root / expect_train(splits.root, splits))

    def rooms(self, data: Data) -> list[Room]:
        """Estimates what copies of the images of both splits take."""
        splits = split_folders(checked_root(data.path or ""))
        return [split_room(splits.root / name) for name in (splits.train, splits.val) if name]

    def quick(self, data: Data, datasets: Path) -> Source | None:
        """Lists the images, as `open_image_folder`."""
        return open_image_folder(data.path or "")

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Lists the images, as `open_image_folder`."""
        return open_image_folder(data.path or "")

    def open_val(self, data: Data, classes: tuple[str, ...] | None) -> Source | None:
        """Lists the val images; a folder without splits is taken for what val/ holds.

        Raises:
            DatasetError: a class is none of those of the weights, or as `open_image_folder`.
            MachineError: as `open_image_folder`.
        """
        root = checked_root(data.path or "", expected="one of images, one folder per class")
        splits = split_folders(root)
        measured = measured_folder(splits)
        if measured is None:
            return None
        named = class_names(measured)
        if classes is None:
            beside = splits.train if measured != root else None
            train = class_names(root / beside) if beside else named
            _expect_known(measured, named, root / (splits.train or ""), train)
            classes = train
        labels = labels_by_name(named, classes, str(measured))
        tally = Tally(measured.parent)
        listing = listed_split(measured.parent, measured.name, named, labels, tally)
        place = "" if measured == root else f"{measured.name}/"
        return val_alone(measured, listing, classes, tally.account(), place=place)


SOURCE = ImageFolder()


def open_image_folder(path: str) -> Source:
    """Lists the images; labels number the sorted folder names of train/, in val/ too.

    Hidden files are left out, and what is no picture by its content. An image that was replaced by
    one of equal size and modification time goes unnoticed. Links are followed: what counts is the
    file they lead to.

    Raises:
        DatasetError: no folder, no train/, no classes, a class without images or with a folder
            inside, a class in val/ that train/ lacks, classes that look alike, a broken link, a
            picture that is empty or of a format that is not read, a name that cannot be written.
        MachineError: something in it cannot be read.
    """
    root = checked_root(path)
    splits = split_folders(root)
    name = expect_train(root, splits)
    classes = class_names(root / name)
    labels = {name: label for label, name in enumerate(classes)}
    tally = Tally(root)
    train = listed_split(root, name, classes, labels, tally)
    val = None
    if splits.val:
        val_classes = class_names(root / splits.val)
        _expect_known(root / splits.val, val_classes, root / name, classes)
        val = listed_split(root, splits.val, val_classes, labels, tally)
    splits.account_for_the_rest(tally)
    return Source(
        identity={"listing": listing_digest(root, [*train.lines, *(val.lines if val else ())])},
        classes=classes,
        train=train.as_images(root),
        val=val.as_images(root) if val else None,
        account=tally.account(),
        places={"train": f"{name}/"} | ({"val": f"{splits.val}/"} if splits.val else {}),
    )


def checked_root(path: str, expected: str = "one that has train/<class>/") -> Path:
    """Returns a path as an existing folder.

    Raises:
        DatasetError: it is none.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DatasetError(f"data.path {path} is no folder: expected {expected}")
    return root


def measured_folder(splits: SplitFolders) -> Path | None:
    """Returns the folder of the images to measure; None where there are training images only.

    A folder is a split if it has class folders: classes may be called valid and invalid, or train.
    """
    trains = splits.train is not None and holds_folders(splits.root / splits.train)
    if splits.val is not None and (trains or holds_folders(splits.root / splits.val)):
        return splits.root / splits.val
    return None if trains else splits.root


def val_alone(
    folder: Path,
    val: Listing,
    classes: tuple[str, ...],
    account: Account,
    *,
    place: str,
    sparse: bool = False,
) -> Source:
    """Makes a source of val images alone: they are both of its splits.

    Args:
        folder: of the images; the listing's paths start from the one above.
        place: of the images in the folder that was named; empty: it is that one.
        sparse: classes may have no images.
    """
    images = val.as_images(folder.parent)
    return Source(
        identity={"listing": listing_digest(folder.parent, val.lines)},
        classes=classes,
        train=images,
        val=images,
        account=account,
        places={"val": place},
        sparse=sparse,
    )


def _expect_known(val: Path, named: Sequence[str], train: Path, classes: Sequence[str]) -> None:
    unknown = sorted(set(named) - set(classes))
    if unknown:
        meant = near(unknown[0], classes)
        hint = f"; it may be {meant!r}, written otherwise" if meant else ""
        raise DatasetError(
            f"{val} has class {unknown[0]!r}, which {train} lacks: expected the same folder names "
            f"in both{hint}"
        )
