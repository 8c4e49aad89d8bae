"""ILSVRC2012's archives -> an image folder with a listing; killed at any instant, it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from mixnet_core.data.imagenet.archives import (
    Archive,
    Member,
    classes_in,
    images_of_class,
    val_images,
)
from mixnet_core.data.imagenet.devkit import Devkit
from mixnet_core.data.imagenet.digests import ReadAlong, expect_md5
from mixnet_core.data.imagenet.edition import ILSVRC2012, Edition, Role
from mixnet_core.data.imagenet.finishing import expect_usable, finish
from mixnet_core.data.imagenet.inputs import (
    Archives,
    archives_here,
    expect_options,
    expected_md5,
    labels_of,
    side_digests,
)
from mixnet_core.data.imagenet.listing import (
    Split,
    has_listing,
    read_facts,
)
from mixnet_core.data.imagenet.parts import PartToUnpack, unpack_parts
from mixnet_core.data.imagenet.progress import STAGE, Progress
from mixnet_core.data.imagenet.records import Extent, Records
from mixnet_core.data.imagenet.room import expect_room
from mixnet_core.data.imagenet.target import alone, expect_own
from mixnet_core.data.imagenet.unpacked import UnpackedImageNet, open_unpacked
from mixnet_core.errors import (
    DatasetError,
    DigestMismatch,
    InputError,
    IntegrityError,
)
from mixnet_core.runs.ticks import Tick, Watch, unwatched
from mixnet_core.storage.uris import refuse_credentials

_VAL_PART_IMAGES = 500
_WAIT_SECONDS = 0.1


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
        archives: files, or objects as s3://bucket/key, which are fetched first.
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
    started = time.monotonic()
    refuse_credentials(*(str(path) for path in (*vars(archives).values(), to)))
    expect_options(archives)
    archives = archives_here(archives, watch)
    with ExitStack() as stack:
        opened: dict[Split, Archive] = {}
        if archives.train_tar:
            opened["train"] = stack.enter_context(Archive(archives.train_tar))
        if archives.val_tar:
            opened["val"] = stack.enter_context(Archive(archives.val_tar))
        expected = expected_md5(archives, edition)
        side = side_digests(archives, expected)
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
        stack.enter_context(alone(to))
        if has_listing(to):
            return _reused(to, inputs, expected)
        work = _Work(archives, opened, to, Records(to), edition, watch)
        work.unpack(inputs, expected, decode)
        counted = None if archives.subset else edition.images
        left_out = expect_usable(work.records, opened, counted, max_unusable)
        work.say("every image is there; listing them")
        facts = {
            "archives": _described(archives, opened, work.md5, side),
            "inputs": inputs,
            "subset": archives.subset,
            "decoded": decode,
        }
        return finish(to, work.records, facts, left_out, started)


class _Work:
    """Unpacks the open archives into one folder.

    Attributes:
        md5: role -> hex digest of the archives that were read to their end.
    """

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
        """Unpacks what is not unpacked yet, and verifies each archive's digest.

        Args:
            inputs: JSON that tells this unpacking from another one.
            expected: role -> hex md5.
        """
        labels = labels_of(self.archives, self.opened.get("val"), self.edition)
        train = self.opened.get("train")
        classes = classes_in(train, subset=self.archives.subset) if train else []
        expect_own(self.root, self.records)
        if self.records.begin(inputs):
            self.say("goes on where it stopped")
        known: dict[Split, str | None] = {}
        whole: dict[Split, dict[str, Extent]] = {}
        for split, archive in self.opened.items():
            known[split] = self.records.open_archive(split, split, archive.identity)
            whole[split] = self.records.whole(split)
        self._expect_room(whole)
        total = sum(archive.identity.size for archive in self.opened.values())
        progress = Progress(self.watch, total)
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
        progress: Progress,
        decode: bool,
    ) -> str:
        with ReadAlong(archive) as along:
            self._unpack(archive, parts, progress, decode, along)
            while (md5 := along.md5(_WAIT_SECONDS)) is None:
                progress.say(f"md5 of {archive.path.name}: {along.hashed / 1e9:,.1f} GB")
        archive.expect_unchanged()
        return md5

    def _unpack(
        self,
        archive: Archive,
        parts: Iterator[PartToUnpack],
        progress: Progress,
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
        progress: Progress,
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
        progress: Progress,
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
            finished = whole[split].values()
            size += archive.identity.size - sum(extent.bytes for extent in finished)
            images += self.edition.images[split] - sum(extent.images for extent in finished)
        expect_room(self.root, size, None if self.archives.subset else images)

    def say(self, text: str) -> None:
        """Tells a milestone."""
        self.watch(Tick(STAGE, 0, None, "B", None, text, milestone=True))


def _described(
    archives: Archives,
    opened: Mapping[Split, Archive],
    md5: Mapping[Role, str],
    side: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for split, archive in opened.items():
        size = archive.identity.size
        found[split] = {"name": archive.path.name, "bytes": size, "md5": md5[split]}
    for role, path in (("devkit", archives.devkit), ("val_labels", archives.val_labels)):
        if path:
            size = path.stat().st_size
            found[role] = {"name": path.name, "bytes": size, "md5": side[role]}
    return found


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
