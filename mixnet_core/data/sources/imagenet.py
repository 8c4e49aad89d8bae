"""ImageNet-1k where it is. Classes are always the catalog's 1,000, whatever is on the disk.

The folder is one of: what `mixnet prepare imagenet` left, whose listing knows every file;
train/<wnid>/ and val/<wnid>/; or train/<wnid>/ and a flat val/ with a file of labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mixnet_core.data.account import Tally
from mixnet_core.data.class_folders import (
    Listing,
    class_names,
    entries,
    everything,
    has_images,
    leave_hidden,
    listed_split,
    listing_digest,
    stamp,
)
from mixnet_core.data.class_names import labels_by_name
from mixnet_core.data.download import Fetch
from mixnet_core.data.file_images import files_as_images
from mixnet_core.data.imagenet.classes import label_of, wnids
from mixnet_core.data.imagenet.listing import (
    SPLITS,
    Split,
    has_listing,
    iterate_listing,
    listing_fingerprint,
    read_facts,
    read_listing,
)
from mixnet_core.data.imagenet.val_labels import read_val_labels
from mixnet_core.data.pictures import Pictures
from mixnet_core.data.source import Claim, DataSource, ImageFile, Images, Source
from mixnet_core.data.sources.image_folder import checked_root, measured_folder, val_alone
from mixnet_core.data.split_folders import (
    SplitFolders,
    expect_train,
    is_folder,
    is_hidden,
    split_folders,
)
from mixnet_core.errors import DatasetError, IntegrityError
from mixnet_core.recipe.sections import Data

_NAMED = 3


class ImageNet(DataSource):
    """Opens folders of ILSVRC2012, whose classes are its 1,000, whatever folders there are."""

    needs_path = True
    are_files = True
    fixed_classes = True
    takes_subset = True
    takes_val_labels = True
    layout = "in_place"

    def claim(self, folder: Path, *, expected: bool) -> Claim:
        """Claims what `mixnet prepare imagenet` left, and an expected folder without other classes.

        Where class folders are missing, or all are, `filled_classes` says so later.
        """
        if has_listing(folder):
            return Claim.ITS_OWN
        if not expected:
            return Claim.NO
        folders = {entry.name for entry in folder.glob("train/*") if entry.is_dir()}
        return Claim.EXPECTED if folders <= set(wnids()) else Claim.NO

    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns the 1,000 WordNet ids."""
        return wnids()

    def look(self, data: Data, datasets: Path) -> str:
        """Looks at the class folders and the listing: a million images take too long."""
        root = checked_root(data.path or "")
        splits = split_folders(root, tests=False)
        train = filled_classes(root / expect_train(root, splits), subset=data.subset)
        flat = flat_val(splits, data.val_labels, Tally(root))
        if flat is None and splits.val:
            filled_classes(root / splits.val, subset=data.subset)
        found = f"{root}: {len(train):,} of ImageNet's 1,000 classes"
        if not has_listing(root):
            return found
        facts = read_facts(root)
        actual = listing_fingerprint({split: iterate_listing(root, split) for split in SPLITS})
        if actual != facts["fingerprint"]:
            raise IntegrityError(
                f"the listing of {root} has fingerprint {actual}, its imagenet.json says "
                f"{facts['fingerprint']}: delete it and run `mixnet prepare imagenet` again"
            )
        counts = ", ".join(f"{count:,} {split} images" for split, count in facts["counts"].items())
        return f"{found}, {counts}, fingerprint {actual[:12]} as listed"

    def expect_digests(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Compares what was fetched with a listing, whose digests are taken for known later.

        Raises:
            IntegrityError: an image is another one, or lacks.
        """
        for split in SPLITS if has_listing(folder) else ():
            for row in iterate_listing(folder, split):
                found = digests.get(row.path, "nothing")
                if found != row.sha256:
                    raise IntegrityError(
                        f"{folder}/{row.path} has sha256 {found[:12]}, the listing beside it says "
                        f"{row.sha256[:12]}: upload it again"
                    )

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Lists the images, as `open_imagenet`."""
        return open_imagenet(data.path or "", val_labels=data.val_labels, subset=data.subset)

    def open_val(self, data: Data, classes: tuple[str, ...] | None) -> Source | None:
        """Lists the val images; a folder without splits is taken for what val/ holds.

        Folders may be named by WordNet ids, or 0 to 999 in their order, as ImageNetV2's are.

        Raises:
            MixnetError: as `open_imagenet`.
        """
        root = checked_root(data.path or "", expected="one of images, one folder per class")
        known = classes or wnids()
        if has_listing(root):
            return _relabelled(listed_val(root, subset=data.subset), known, root)
        splits = split_folders(root, tests=False)
        tally = Tally(root)
        flat = flat_val(splits, data.val_labels, tally)
        measured = measured_folder(splits)
        if measured is None:
            return None
        place = "" if measured == root else f"{measured.name}/"
        if flat is not None:
            found = val_alone(
                measured, flat, wnids(), tally.account(), place=place, sparse=data.subset
            )
            return _relabelled(found, known, measured)
        named = class_names(measured)
        labels = labels_by_name(named, known, str(measured))
        filled = tuple(name for name in named if has_images(measured / name))
        if known == wnids():
            expect_all_classes(
                str(measured), {known[labels[name]] for name in filled}, subset=data.subset
            )
        tally = Tally(measured.parent)
        listing = listed_split(measured.parent, measured.name, filled, labels, tally)
        return val_alone(measured, listing, known, tally.account(), place=place, sparse=data.subset)


SOURCE = ImageNet()


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
    splits = split_folders(root, tests=False)
    tally = Tally(root)
    val = flat_val(splits, val_labels, tally)
    if has_listing(root):
        return _from_listing(root, subset)
    name = expect_train(root, splits)
    train = _folders(root, name, subset, tally)
    if val is None and splits.val:
        val = _folders(root, splits.val, subset, tally)
    splits.account_for_the_rest(tally)
    return Source(
        identity={"listing": listing_digest(root, [*train.lines, *(val.lines if val else ())])},
        classes=wnids(),
        train=train.as_images(root),
        val=val.as_images(root) if val else None,
        account=tally.account(),
        places={"train": f"{name}/"} | ({"val": f"{splits.val}/"} if splits.val else {}),
        sparse=subset,
    )


def expect_all_classes(
    split: str, found: Iterable[str], *, folders: Iterable[str] = (), subset: bool
) -> None:
    """Makes sure that a split has all classes of the catalog and no others.

    Args:
        split: its folder, for errors.
        found: classes with images.
        folders: class folders, empty ones too.
        subset: classes may be missing.

    Raises:
        DatasetError: it lacks some, or has others.
    """
    filled = set(found)
    unknown = sorted((filled | set(folders)) - set(wnids()))
    if unknown:
        raise DatasetError(
            f"{split} has {len(unknown)} folders that are no classes of ImageNet's 1,000, the "
            f"first is {unknown[0]!r}: remove them, or set data.source to image_folder"
        )
    missing = [wnid for wnid in wnids() if wnid not in filled]
    if missing and not subset:
        some = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise DatasetError(
            f"{split} lacks images of {len(missing)} of ImageNet's 1,000 classes ({some}): put "
            "them there, or set data.subset to true to go without; labels stay the same either way"
        )


def listed_val(root: Path, *, subset: bool) -> Source | None:
    """Makes a source of a listing's val images, as both of its splits; None where it has none.

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
        places={"train": "train/"} | ({"val": "val/"} if val else {}),
        sparse=subset,
    )


def _relabelled(source: Source | None, classes: tuple[str, ...], where: Path) -> Source | None:
    """Returns a source of ImageNet's classes with the labels that weights give to them."""
    if source is None or classes == wnids():
        return source
    labels = labels_by_name(wnids(), classes, str(where))
    numbers = np.array([labels[name] for name in wnids()], np.int32)
    images = replace(source.train, labels=numbers[source.train.labels])
    return replace(source, classes=classes, train=images, val=images)


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


def _folders(root: Path, split: str, subset: bool, tally: Tally) -> Listing:
    filled = filled_classes(root / split, subset=subset)
    return listed_split(root, split, filled, label_of(), tally)


def filled_classes(split: Path, *, subset: bool) -> tuple[str, ...]:
    """Lists the class folders of a split that have images.

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
    """Tells whether a split's images are not in class folders."""
    return not any(is_folder(entry) for entry in entries(split))


def flat_val(splits: SplitFolders, val_labels: str | None, tally: Tally) -> Listing | None:
    """Lists a flat val/'s images with the labels of a file; None where val/ is missing or not flat.

    Args:
        tally: is told of every file in it.

    Raises:
        DatasetError: there is no such file or it is not needed, it does not fit the images, or as
            `open_image_folder`.
    """
    root, name = splits.root, splits.val
    if has_listing(root) or name is None or not is_flat(root / name):
        if val_labels is not None:
            raise DatasetError(
                f"data.val_labels is {val_labels}, but {root} has no val/ without class folders "
                "that needs it: set it to null"
            )
        return None
    folder = root / name
    if val_labels is None:
        raise DatasetError(
            f"{folder} has no class folders: name the file of its images' labels as "
            "data.val_labels, or sort them into folders"
        )
    pictures = Pictures(tally)
    images = []
    for entry in everything(folder):
        if is_hidden(entry.name):
            leave_hidden(entry, tally)
        elif pictures.takes(folder, entry):
            images.append(entry)
    pictures.expect_readable()
    if not images:
        raise DatasetError(f"{folder} has no images: add them, or remove the folder")
    labels = read_val_labels(Path(val_labels).expanduser(), [entry.name for entry in images])
    return Listing(
        paths=[f"{name}/{entry.name}" for entry in images],
        labels=labels,
        lines=[
            f"{stamp(entry, f'{name}/{entry.name}')}\0{label}"
            for entry, label in zip(images, labels, strict=True)
        ],
    )
