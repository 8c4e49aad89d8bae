"""ILSVRC2012's archives -> an image folder with a listing; killed at any instant, it goes on."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mixnet_core.data.imagenet.archives import (
    Archive,
    Member,
    classes_in,
    images_of_class,
    val_images,
)
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.devkit import Devkit, read_devkit
from mixnet_core.data.imagenet.digests import ReadAlong, expect_md5, md5_of, read_md5sums
from mixnet_core.data.imagenet.edition import ILSVRC2012, Edition, Role
from mixnet_core.data.imagenet.listing import (
    SPLITS,
    Listed,
    Split,
    has_listing,
    read_facts,
    write_facts,
    write_splits,
)
from mixnet_core.data.imagenet.parts import PartToUnpack, unpack_parts
from mixnet_core.data.imagenet.records import Extent, LeftOut, Records
from mixnet_core.data.imagenet.report import write_report
from mixnet_core.data.imagenet.room import expect_room
from mixnet_core.data.imagenet.unpacked import UnpackedImageNet, expect_files, open_unpacked
from mixnet_core.data.imagenet.val_labels import read_val_labels
from mixnet_core.errors import (
    DatasetError,
    DigestMismatch,
    InputError,
    IntegrityError,
    TransientError,
)
from mixnet_core.files import ASIDE_PREFIX, os_errors_explained
from mixnet_core.ticks import Tick, Watch, unwatched

STAGE = "unpack"
_VAL_PART_IMAGES = 500
_NAMED = 5
_TICK_SECONDS = 0.1
# What the folder may not have before: it would be mixed with, or replaced by, what is unpacked.
_OWN = (*SPLITS, *(f"{split}.csv" for split in SPLITS), "report.md", "report.json")


@dataclass(frozen=True)
class Archives:
    """What is to be unpacked.

    Attributes:
        train_tar, val_tar: one of them may be None, and its split is left out.
        devkit, val_labels: where val's labels are: one of them. The devkit also says how many
            images a class has.
        md5sums: a file as md5sum writes it, in place of the published digests.
        subset: whether this is a part of ImageNet: counts, classes and published digests are then
            not demanded.
    """

    train_tar: Path | None = None
    val_tar: Path | None = None
    devkit: Path | None = None
    val_labels: Path | None = None
    md5sums: Path | None = None
    subset: bool = False


def unpack_imagenet(
    archives: Archives,
    to: Path,
    *,
    max_unusable: int = 0,
    decode: bool = True,
    watch: Watch = unwatched,
    edition: Edition = ILSVRC2012,
) -> UnpackedImageNet:
    """Unpacks into `to`: train/<wnid>/<image>, val/<wnid>/<image>, the listing and a report.

    Every file is kept byte for byte (`data.inspection` says which can be), read once and never
    written elsewhere first. Called again it goes on with the class in which it stopped; when all
    is done it checks that everything is still there. `.unpacking/` in the folder holds what it
    needs for that.

    Args:
        max_unusable: images that may be left out because they cannot be used.
        decode: whether every image is decoded once; otherwise only its header is read.
        edition: what the archives have to be, where they are the whole.

    Raises:
        InputError: archives or labels are not given or not there; `to` holds something else.
        DatasetError: the archives are not what ILSVRC2012's are, or have too many unusable images.
        IntegrityError, DigestMismatch: an archive is cut off, damaged, or another one.
        MachineError: there is no room, something cannot be read or written, scipy is missing.
        TransientError: another process unpacks into the same folder.
    """
    begun = time.monotonic()
    _expect_options(archives)
    with ExitStack() as stack:
        opened: dict[Split, Archive] = {}
        if archives.train_tar:
            opened["train"] = stack.enter_context(Archive(archives.train_tar))
        if archives.val_tar:
            opened["val"] = stack.enter_context(Archive(archives.val_tar))
        expected = _expected_md5(archives, edition)
        side = _side_digests(archives, expected)
        inputs: dict[str, Any] = {
            **{str(split): archive.identity.size for split, archive in opened.items()},
            **side,
            "subset": archives.subset,
            "decoded": decode,
        }
        if has_listing(to):
            # Killed right before its end.
            Records(to).end()
            return _reused(to, inputs, expected)
        stack.enter_context(_alone(to))
        if has_listing(to):
            return _reused(to, inputs, expected)
        work = _Work(archives, opened, to, Records(to), edition, watch)
        work.unpack(inputs, expected, decode)
        left_out = work.left_out(max_unusable)
        return work.finish(inputs, left_out, side, begun)


class _Work:
    def __init__(
        self,
        archives: Archives,
        opened: Mapping[Split, Archive],
        root: Path,
        records: Records,
        edition: Edition,
        watch: Watch,
    ) -> None:
        self.archives = archives
        self.opened = opened
        self.root = root
        self.records = records
        self.edition = edition
        self.watch = watch
        self.md5: dict[Role, str] = {}

    def unpack(self, inputs: dict[str, Any], expected: dict[Role, str], decode: bool) -> None:
        labels = _labels(self.archives, self.opened.get("val"), self.edition)
        train = self.opened.get("train")
        classes = classes_in(train, subset=self.archives.subset) if train else []
        _expect_own(self.root, self.records)
        if self.records.begin(inputs):
            self._say("goes on where it stopped")
        known: dict[Split, str | None] = {}
        whole: dict[Split, dict[str, Extent]] = {}
        for split, archive in self.opened.items():
            known[split] = self.records.open_archive(split, split, archive.identity)
            whole[split] = self.records.whole(split)
        self._expect_room(whole)
        total = sum(archive.identity.size for archive in self.opened.values())
        progress = _Progress(self.watch, total)
        for split, archive in self.opened.items():
            if split == "train":
                parts = self._train_parts(archive, classes, labels, whole[split], progress)
            else:
                parts = self._val_parts(archive, labels, whole[split], progress)
            md5 = known[split]
            if md5 is None:
                md5 = self._unpacked_and_hashed(split, archive, parts, progress, decode)
            else:
                self._unpack(archive, parts, progress, decode, None)
            try:
                expect_md5(archive.path, md5, expected.get(split))
            except DigestMismatch:
                # The right archive may come with the same size.
                self.records.forget(split)
                raise
            self.records.verified(split, archive.identity, md5)
            self.md5[split] = md5
            progress.finished(archive)

    def _unpacked_and_hashed(
        self,
        split: Split,
        archive: Archive,
        parts: Iterator[PartToUnpack],
        progress: _Progress,
        decode: bool,
    ) -> str:
        with ReadAlong(archive) as along:
            self._unpack(archive, parts, progress, decode, along)
            while (md5 := along.md5(_TICK_SECONDS)) is None:
                progress.say(f"md5 of {archive.path.name}: {along.hashed / 1e9:,.1f} GB")
        archive.expect_unchanged()
        return md5

    def _unpack(
        self,
        archive: Archive,
        parts: Iterator[PartToUnpack],
        progress: _Progress,
        decode: bool,
        along: ReadAlong | None,
    ) -> None:
        unpack_parts(
            parts,
            archive,
            self.records,
            self.root,
            decode=decode,
            reading=along.reading if along else lambda offset: None,
            settled=progress.settled,
        )

    def _train_parts(
        self,
        archive: Archive,
        classes: list[Member],
        labels: Devkit,
        whole: Mapping[str, Extent],
        progress: _Progress,
    ) -> Iterator[PartToUnpack]:
        for number, inner in enumerate(sorted(classes, key=lambda inner: inner.offset), 1):
            wnid = inner.name.removesuffix(".tar")
            progress.detail = f"train, class {number:,}/{len(classes):,}"
            if wnid in whole:
                progress.skipped(inner.size)
                continue
            expected = None if self.archives.subset else labels.train_images.get(wnid)
            yield PartToUnpack("train", wnid, _class_images(archive, inner, wnid, expected))

    def _val_parts(
        self,
        archive: Archive,
        labels: Devkit,
        whole: Mapping[str, Extent],
        progress: _Progress,
    ) -> Iterator[PartToUnpack]:
        images = val_images(archive)
        count = 0
        progress.detail = "val"
        while members := list(islice(images, _VAL_PART_IMAGES)):
            labelled = [(member, _class_of(member, archive, labels)) for member in members]
            name = f"{count // _VAL_PART_IMAGES:05d}"
            count += len(members)
            if name in whole and whole[name].images == len(members):
                progress.skipped(sum(member.size for member in members))
            else:
                yield PartToUnpack("val", name, labelled)

    def _expect_room(self, whole: Mapping[Split, Mapping[str, Extent]]) -> None:
        size, images = 0, 0
        for split, archive in self.opened.items():
            there = whole[split].values()
            size += archive.identity.size - sum(extent.bytes for extent in there)
            images += self.edition.images[split] - sum(extent.images for extent in there)
        expect_room(self.root, size, None if self.archives.subset else images)

    def left_out(self, most: int) -> list[LeftOut]:
        """What cannot be used, by name; also counts what there was.

        Raises:
            DatasetError: there is more of it than `most`, or an official count is not met.
        """
        found: list[LeftOut] = []
        for split in self.opened:
            images = 0
            for part in self.records.parts(split):
                images += len(part.rows) + len(part.left_out)
                found += part.left_out
            expected = self.edition.images[split]
            if not self.archives.subset and images != expected:
                raise DatasetError(
                    f"{self.opened[split].path} has {images:,} images, expected {expected:,}: "
                    "fetch the archive again, or say --subset"
                )
        found.sort()
        if len(found) > most:
            named = ", ".join(f"{image.name} ({image.reason})" for image in found[:_NAMED])
            more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
            raise DatasetError(
                f"{len(found):,} images cannot be used, --max-unusable allows {most:,}: {named}"
                f"{more}; fetch the archives again, or allow them to be left out"
            )
        return found

    def finish(
        self,
        inputs: dict[str, Any],
        left_out: list[LeftOut],
        side: Mapping[Role | str, str],
        begun: float,
    ) -> UnpackedImageNet:
        self._say("every image is there; listing them")
        val = sorted(
            chain.from_iterable(part.rows for part in self.records.parts("val")), key=_place
        )
        train = chain.from_iterable(part.rows for part in self.records.parts("train"))
        facts = write_splits(self.root, {"train": train, "val": val})
        expect_files(self.root)
        archives: dict[str, dict[str, Any]] = {
            split: {
                "name": archive.path.name,
                "bytes": archive.identity.size,
                "md5": self.md5[split],
            }
            for split, archive in self.opened.items()
        }
        paths = {"devkit": self.archives.devkit, "val_labels": self.archives.val_labels}
        for role, path in paths.items():
            if path:
                size = path.stat().st_size
                archives[role] = {"name": path.name, "bytes": size, "md5": side[role]}
        facts |= {
            "archives": archives,
            "inputs": inputs,
            "subset": self.archives.subset,
            "decoded": inputs["decoded"],
            "left_out": len(left_out),
        }
        report = write_report(
            self.root, facts, left_out, seconds=round(time.monotonic() - begun, 1)
        )
        write_facts(self.root, facts)
        self.records.end()
        return UnpackedImageNet(
            root=str(self.root.resolve()),
            fingerprint=facts["fingerprint"],
            counts=facts["counts"],
            left_out=len(left_out),
            report=str(report.resolve()),
        )

    def _say(self, text: str) -> None:
        self.watch(Tick(STAGE, 0, None, "B", None, text, milestone=True))


class _Progress:
    """Ticks, in bytes of the archives; not one an image, which a terminal could not show."""

    def __init__(self, watch: Watch, total: int) -> None:
        self.detail = ""
        self._watch, self._total = watch, total
        self._done = self._base = self._images = 0
        self._begun = self._last = time.monotonic()

    def settled(self, member: Member) -> None:
        self._images += 1
        self.skipped(member.size)

    def skipped(self, size: int) -> None:
        self._done += size
        if time.monotonic() - self._last >= _TICK_SECONDS:
            self.say(self.detail)

    def finished(self, archive: Archive) -> None:
        """Headers count too, once all of the archive was read."""
        self._done = self._base = self._base + archive.identity.size
        self.say(self.detail)

    def say(self, detail: str) -> None:
        self._last = time.monotonic()
        speed = self._images / max(1e-3, self._last - self._begun)
        self._watch(Tick(STAGE, self._done, self._total, "B", speed or None, detail))


def _expect_options(archives: Archives) -> None:
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


def _expected_md5(archives: Archives, edition: Edition) -> dict[Role, str]:
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


def _side_digests(archives: Archives, expected: Mapping[Role, str]) -> dict[str, str]:
    """md5 of the small files, which are read whole."""
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


def _labels(archives: Archives, val: Archive | None, edition: Edition) -> Devkit:
    images = None if archives.subset else edition.images["val"]
    if archives.devkit:
        return read_devkit(archives.devkit, val_images=images)
    if not archives.val_labels or not val:
        return Devkit({}, {})
    names = sorted(member.name for member in val_images(val))
    labels = read_val_labels(archives.val_labels, names)
    return Devkit({name: wnids()[i] for name, i in zip(names, labels, strict=True)}, {})


def _class_images(
    archive: Archive, inner: Member, wnid: str, expected: int | None
) -> Iterator[tuple[Member, str]]:
    count = 0
    for member in images_of_class(archive, inner):
        count += 1
        yield member, wnid
    if expected is not None and count != expected:
        raise DatasetError(
            f"{inner.name} in {archive.path} has {count:,} images, the devkit says {expected:,}: "
            "fetch the archive again, or say --subset"
        )


def _class_of(member: Member, archive: Archive, labels: Devkit) -> str:
    wnid = labels.val.get(member.name)
    if wnid is None:
        raise DatasetError(
            f"{archive.path} has {member.name}, for which there is no label among the "
            f"{len(labels.val):,} given: take the labels of this archive"
        )
    return wnid


def _place(row: Listed) -> tuple[str, str]:
    return row.wnid, row.path


def _reused(
    root: Path, inputs: Mapping[str, Any], expected: Mapping[Role, str]
) -> UnpackedImageNet:
    facts = read_facts(root)
    if facts.get("inputs") != inputs:
        raise InputError(
            f"{root} holds what was unpacked from other archives or with other options: choose "
            "another folder with --to, or delete it"
        )
    for role, md5 in expected.items():
        expect_md5(Path(facts["archives"][role]["name"]), facts["archives"][role]["md5"], md5)
    try:
        return open_unpacked(root)
    except IntegrityError as error:
        raise IntegrityError(
            f"{error}: put it right, or delete {root} and run this again"
        ) from error


def _expect_own(root: Path, records: Records) -> None:
    """What is unpacked replaces files; nobody else's may be among them."""
    if records.is_begun():
        # Of listings that were being written.
        for path in root.glob(f"{ASIDE_PREFIX}*"):
            with os_errors_explained(path):
                path.unlink()
        return
    for name in _OWN:
        if (root / name).exists():
            raise InputError(
                f"{root} has {name} already, which was not unpacked by this command: choose "
                "another folder with --to"
            )


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Holds the folder against other processes; the kernel lets go when the process ends."""
    path = root / ".lock"
    with os_errors_explained(root):
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransientError(
                f"another process unpacks into {root}: wait until it has ended, or choose "
                "another folder with --to"
            ) from None
        yield
    finally:
        os.close(handle)
