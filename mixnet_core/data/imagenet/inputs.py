"""The archives as the caller names them: whether they fit, their digests, their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from mixnet_core.data.imagenet.archives import Archive, val_images
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.devkit import Devkit, read_devkit
from mixnet_core.data.imagenet.digests import expect_md5, md5_of, read_md5sums
from mixnet_core.data.imagenet.edition import Edition, Role
from mixnet_core.data.imagenet.progress import STAGE
from mixnet_core.data.imagenet.val_labels import read_val_labels
from mixnet_core.errors import InputError
from mixnet_core.runs.ticks import Watch, fetching_ticks
from mixnet_core.storage.files import is_address
from mixnet_core.storage.mirror.one_object import fetched_file


@dataclass(frozen=True)
class Archives:
    """Names what is to be unpacked.

    Attributes:
        train_tar, val_tar: one of them may be None, and its split is left out.
        devkit, val_labels: one of them holds val's labels. The devkit also says how many images a
            class has.
        md5sums: a file as md5sum writes it, instead of the published digests.
        subset: whether this is a part of ImageNet: counts, classes and published digests are then
            not demanded.
    """

    train_tar: Path | None = None
    val_tar: Path | None = None
    devkit: Path | None = None
    val_labels: Path | None = None
    md5sums: Path | None = None
    subset: bool = False


def expect_options(archives: Archives) -> None:
    """Makes sure that what is given fits together.

    Raises:
        InputError: it does not.
    """
    if not archives.train_tar and not archives.val_tar:
        raise InputError("nothing to unpack: give --train-tar, --val-tar or both")
    if archives.val_tar and not archives.devkit and not archives.val_labels:
        raise InputError(
            "val's images have no labels in their archive: give --devkit or --val-labels"
        )
    if archives.devkit and archives.val_labels:
        raise InputError("two sources of val's labels, --devkit and --val-labels: give one")
    if archives.val_labels and not archives.val_tar:
        raise InputError("--val-labels is for --val-tar: give that too, or leave both out")


def archives_here(archives: Archives, watch: Watch) -> Archives:
    """Fetches what is named by s3://bucket/key, and names the files that it is here.

    Raises:
        MixnetError: as `storage.mirror.one_object.fetched_file`.
    """
    on_fetched = fetching_ticks(STAGE, watch)
    fetched: dict[str, Any] = {}
    for item in fields(archives):
        path = getattr(archives, item.name)
        if isinstance(path, Path) and is_address(path):
            # A path has kept one of the two slashes.
            fetched[item.name] = fetched_file(str(path).replace(":/", "://", 1), on_fetched)
    return replace(archives, **fetched)


def expected_md5(archives: Archives, edition: Edition) -> dict[Role, str]:
    """Returns the digests that the given files must have: role -> hex md5.

    Raises:
        InputError: there is no such file of digests, or it lacks one.
        MachineError: it cannot be read.
    """
    paths: dict[Role, Path | None] = {
        "train": archives.train_tar,
        "val": archives.val_tar,
        "devkit": archives.devkit,
    }
    given = {role: path for role, path in paths.items() if path}
    if archives.md5sums is None:
        return {} if archives.subset else {role: edition.md5[role] for role in given}
    known = read_md5sums(archives.md5sums)
    for path in given.values():
        if path.name not in known:
            raise InputError(f"{archives.md5sums} has no line for {path.name}: add it")
    return {role: known[path.name] for role, path in given.items()}


def side_digests(archives: Archives, expected: Mapping[Role, str]) -> dict[str, str]:
    """Returns the digests of the small files, which are read whole: role -> hex md5.

    Raises:
        InputError: a file is not there.
        DigestMismatch: the devkit is not the expected one.
        MachineError: one cannot be read.
    """
    found = {}
    for role, path in (("devkit", archives.devkit), ("val_labels", archives.val_labels)):
        if path is None:
            continue
        if not path.is_file():
            raise InputError(f"no file at {path}: check the path")
        found[role] = md5_of(path)
    if archives.devkit:
        expect_md5(archives.devkit, found["devkit"], expected.get("devkit"))
    return found


def labels_of(archives: Archives, val: Archive | None, edition: Edition) -> Devkit:
    """Reads the labels of val, from whichever file holds them.

    Raises:
        MixnetError: as `read_devkit` and `read_val_labels`.
    """
    images = None if archives.subset else edition.images["val"]
    if archives.devkit:
        return read_devkit(archives.devkit, val_images=images)
    if not archives.val_labels or not val:
        return Devkit({}, {})
    names = sorted(member.name for member in val_images(val))
    labels = read_val_labels(archives.val_labels, names)
    return Devkit({name: wnids()[i] for name, i in zip(names, labels, strict=True)}, {})
