"""Sources of images: what every source can do, and the one shape that it is opened into.

Which sources there are: `data.sources`. Nothing else asks a recipe for the name of its source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.account import Account
from mixnet_core.data.download import Fetch
from mixnet_core.data.room import SMALL_IMAGE_BYTES, Room, split_room
from mixnet_core.errors import MixnetError
from mixnet_core.recipe.kinds import SOURCES
from mixnet_core.recipe.sections import Data
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown


class ImageFile(NamedTuple):
    """Describes an image's file: hex sha256 and size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, eq=False)
class Files:
    """Lists images that are files already.

    Attributes:
        root: a folder.
        paths: from that folder, with slashes, one per image.
        check: position -> its file's digest and size, found by reading and decoding it, or known
            already. Safe to call from several threads. Raises as `Images.write`.
    """

    root: Path
    paths: tuple[str, ...]
    check: Callable[[int], ImageFile]


@dataclass(frozen=True, eq=False)
class Images:
    """Lists the labelled images of one split, in an order that depends on nothing but the source.

    Attributes:
        names: file names with suffix, unique within a label.
        labels: (len(names),) int32.
        write: (position, target) -> the file that it put at `target`. Safe to call from several
            threads. Raises DatasetError for an image that cannot be decoded, MachineError for one
            that cannot be read, OSError where `target` cannot be written.
        files: None where the source's images are not files of their own.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int32]
    write: Callable[[int, Path], ImageFile]
    files: Files | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """Holds images to prepare.

    Attributes:
        identity: JSON; equal for equal images, different as soon as one of them changed.
        classes: names in label order, usable as folder names.
        train: the images that are not val's.
        val: None where the source has no validation split of its own.
        account: of the source's files; of images that are no files of their own there is none.
        places: split -> the folder or list that its images stand in, "val" -> "test/"; a split that
            is not there is cut from train.
        sparse: classes may have no images.
    """

    identity: dict[str, Any]
    classes: tuple[str, ...]
    train: Images
    val: Images | None
    account: Account = field(default_factory=Account)
    places: Mapping[str, str] = field(default_factory=dict)
    sparse: bool = False


class Stated(NamedTuple):
    """Says what a prepared dataset holds: names in label order, and images of each split.

    Attributes:
        own_val: whether its val images were a split of their own, and not cut from the others.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, int]
    own_val: bool


class Claim(IntEnum):
    """Ranks how much speaks for a folder that somebody named being a source's."""

    NO = 0
    OTHERWISE = 1
    EXPECTED = 2
    SHOWN = 3
    ITS_OWN = 4


class DataSource(ABC):
    """Lists and describes one source of images; a file of `data.sources` offers it.

    Attributes:
        needs_path, takes_path: whether data.path must, may name a folder.
        are_files: whether its images are files of their own, which may stay where they are.
        takes_val_labels, takes_subset: whether those keys of the section are for it.
        fixed_classes: whether it has the classes that its recipes say, whatever folder is named.
        layout: how a folder that somebody names is prepared, unless the recipe says otherwise.
        images_written: how many small files preparing it makes, where that is known beforehand.
    """

    needs_path: ClassVar[bool] = False
    takes_path: ClassVar[bool] = True
    are_files: ClassVar[bool] = False
    takes_val_labels: ClassVar[bool] = False
    takes_subset: ClassVar[bool] = False
    fixed_classes: ClassVar[bool] = False
    layout: ClassVar[Literal["links", "in_place"]] = "links"
    images_written: ClassVar[int | None] = None

    def check(self, data: Data) -> None:
        """Makes sure that the section's other keys fit this source.

        Raises:
            ValueError: they do not.
        """
        name = data.source
        if self.needs_path and data.path is None:
            raise ValueError(f"data.source {name} needs data.path (--data FOLDER)")
        if not self.takes_path and data.path is not None:
            raise ValueError(f"data.source {name} is embedded and takes no data.path")
        if data.layout == "in_place" and not self.are_files:
            raise ValueError(
                f"data.layout in_place is for images that are files, those of data.source {name} "
                "are not: set it to links"
            )
        if data.val_labels is not None and not self.takes_val_labels:
            raise ValueError(
                f"data.val_labels is for {_that('takes_val_labels')}, data.source is {name}: set "
                "it to null"
            )
        if data.subset and not self.takes_subset:
            raise ValueError(
                f"data.subset is for {_that('takes_subset')}, data.source is {name}: set it to "
                "false"
            )

    def claim(self, folder: Path, *, expected: bool) -> Claim:
        """Tells how much speaks for a folder being this source's.

        Args:
            expected: whether the recipe that it is named for has this source.
        """
        return Claim.NO

    @abstractmethod
    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns the classes in label order, before anything is prepared or downloaded.

        Raises:
            DatasetError, MachineError: as `open`.
        """

    def quick(self, data: Data, datasets: Path) -> Source | None:
        """Opens it as `open` does if that takes seconds at most; else returns None.

        `look` then says less.

        Raises:
            DatasetError, IntegrityError, MachineError: as `open`.
        """
        return None

    def look(self, data: Data, datasets: Path) -> str:
        """Says in a line what is there, where listing all of it takes too long.

        A source that has no quicker way to look leaves it to preparing.

        Raises:
            DatasetError, IntegrityError, MachineError, TransientError: as `open`.
        """
        return f"{self.described(data)}: looked at when it is prepared"

    def stored_at(self, uri: str) -> str:
        """Returns the URI of what is fetched of data in a store, which is named by another one.

        Raises:
            MixnetError: it is none of this source.
        """
        return uri

    def expect_digests(  # noqa: B027, most data says nothing
        self, folder: Path, digests: Mapping[str, str]
    ) -> None:
        """Makes sure that a store handed out what its data says of itself, if that says digests.

        Args:
            folder: of the mirror.
            digests: path in it -> hex sha256 of what was fetched.

        Raises:
            IntegrityError: it handed out something else.
        """

    def settings(self, folder: Path) -> dict[str, Any]:
        """Returns keys of the section, dotted, that a folder which somebody names decides.

        Raises:
            MixnetError: as `ready`.
        """
        return {}

    def stated(self, data: Data) -> Stated | None:
        """Returns what a dataset that is prepared already says of itself; None: it is to be made.

        Raises:
            MixnetError: as `ready`.
        """
        return None

    def ready(self, data: Data) -> PreparedDataset | None:
        """Opens a dataset that is prepared already; None: it is to be made of `open`'s images.

        Raises:
            DatasetError: there is none, or it was cut otherwise than the section says.
            IntegrityError: it is damaged.
            MachineError: it cannot be read.
        """
        return None

    def described(self, data: Data) -> str:
        """Names it in a line about it."""
        path = data.path or ""
        return shown(path) if "://" in path else str(Path(path).expanduser())

    def rooms(self, data: Data) -> list[Room]:
        """Estimates what copies of its images take.

        Raises:
            OSError, MixnetError: as `open`.
        """
        root = Path(data.path or "").expanduser()
        return [split_room(root / split) for split in ("train", "val")]

    @abstractmethod
    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Lists and identifies its images, which are only read when written.

        Args:
            datasets: the workspace's folder, where a download is kept.
            fetch: brings one file here.

        Raises:
            DatasetError: it is missing or malformed.
            MachineError: a package is missing, a file cannot be read or written.
            IntegrityError: a known file's content is not the published one.
            TransientError: a download failed.
        """

    def open_val(self, data: Data, classes: tuple[str, ...] | None) -> Source | None:
        """Lists its val images alone, as both splits of a source; None where val is cut from train.

        No training image is read, none need be there.

        Args:
            classes: names that weights were trained for, in label order, which are the source's
                then: labels are found by name (`data.class_names`). None: the source's own.

        Raises:
            DatasetError: an image is of a class that is none of them.
            MixnetError: as `open`.
        """
        return None


def source_of(data: Data) -> DataSource:
    """Returns the source that a recipe names."""
    found: DataSource = SOURCES.load(data.source)
    return found


def source_of_folder(folder: Path, *, expected: str) -> str:
    """Returns the name of the source that a folder which somebody named is for.

    Args:
        expected: the source of the recipe that it is named for.

    Raises:
        MachineError: it cannot be looked into.
    """
    names = [expected, *(name for name in SOURCES.names() if name != expected)]
    claims: dict[str, Claim] = {}
    with os_errors_explained(folder, "read"):
        for name in names:
            claims[name] = SOURCES.load(name).claim(folder, expected=name == expected)
            if claims[name] is Claim.ITS_OWN:
                break
    return max(claims, key=lambda name: claims[name])


def dataset_room(data: Data, workspace: Path) -> Room:
    """Estimates what preparing a dataset adds on the workspace's disk, within a second or two.

    That depends on the layout: copies where links are not possible, shards with the images' bytes,
    or nothing. It is nothing too where the source cannot be looked at: `stages.check.check_data`
    says why.

    Args:
        workspace: an existing folder on its disk.
    """
    source = source_of(data)
    if source.images_written is not None:
        return Room(source.images_written * SMALL_IMAGE_BYTES, source.images_written)
    try:
        root = Path(data.path or "").expanduser()
        near = root.stat().st_dev == workspace.stat().st_dev
        if data.layout == "in_place" or (data.layout == "links" and near):
            return Room(0, 0)
        rooms = source.rooms(data)
    except (MixnetError, OSError):
        return Room(0, 0)
    files = sum(room.files for room in rooms) if data.layout == "links" else 0
    return Room(sum(room.bytes for room in rooms), files)


def _that(attribute: str) -> str:
    names = [name for name, source in SOURCES.all().items() if getattr(source, attribute)]
    return f"source{'s' if len(names) > 1 else ''} {' and '.join(names)}"
