"""Unpacking ImageNet's archives: what is there afterwards, and what ends it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.images.imagenet_archives import Archives as Made
from benchmarks.images.imagenet_archives import write_archives
from mixnet_core.data.imagenet import parts, records, room, unpack
from mixnet_core.data.imagenet.edition import Edition
from mixnet_core.data.imagenet.inputs import Archives
from mixnet_core.data.imagenet.listing import has_listing, read_facts, read_listing
from mixnet_core.data.imagenet.records import Records
from mixnet_core.data.imagenet.room import expect_room
from mixnet_core.data.imagenet.unpack import unpack_imagenet
from mixnet_core.errors import (
    DatasetError,
    DigestMismatch,
    InputError,
    IntegrityError,
    MachineError,
    TransientError,
)
from mixnet_core.runs.ticks import Tick
from tests.data.imagenet.tars import photo, tar, train_tar, val_tar

TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("archives")
    return write_archives(folder, classes=4, images_per_class=3, val_images=9, side=48)


def given(made: Made, **more: Any) -> Archives:
    whole = {"devkit": made.devkit, "md5sums": made.md5sums, "subset": True}
    return Archives(made.train_tar, made.val_tar, **(whole | more))


def small(tmp_path: Path, classes: dict[str, list[bytes]], **more: Any) -> Archives:
    return Archives(train_tar(tmp_path / "train.tar", classes), subset=True, **more)


def tree(root: Path) -> dict[str, bytes]:
    """All images by their path."""
    files = (p for split in ("train", "val") for p in sorted(root.glob(f"{split}/**/*")))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files if p.is_file()}


def test_every_image_is_in_its_class_byte_for_byte_and_listed(made: Made, tmp_path: Path) -> None:
    done = unpack_imagenet(given(made), tmp_path / "to")
    assert (done.counts, done.left_out, done.reused) == ({"train": 12, "val": 9}, 0, False)
    root = Path(done.root)
    files = tree(root)
    listed = [*read_listing(root, "train"), *read_listing(root, "val")]
    assert len(files) == len(listed) == 21
    for row in listed:
        assert hashlib.sha256(files[row.path]).hexdigest() == row.sha256
        assert len(files[row.path]) == row.bytes
        assert row.path.split("/")[1] == row.wnid
        assert 20 < row.width < 100
    assert listed == sorted(listed[:12], key=lambda r: (r.wnid, r.path)) + sorted(
        listed[12:], key=lambda r: (r.wnid, r.path)
    )
    labels = made.val_labels.read_text().split()
    assert {row.path.rpartition("/")[2]: row.wnid for row in listed[12:]} == {
        f"ILSVRC2012_val_{number:08d}.JPEG": wnid for number, wnid in enumerate(labels, 1)
    }
    assert not (root / ".unpacking").exists()
    assert {p.name for p in root.glob("[!.]*")} == {
        "train", "val", "train.csv", "val.csv", "imagenet.json", "report.md", "report.json"
    }  # fmt: skip


def test_what_is_out_of_the_ordinary_is_kept_and_noted(made: Made, tmp_path: Path) -> None:
    done = unpack_imagenet(given(made), tmp_path)
    notes = {row.path.rpartition("/")[2]: row.notes for row in read_listing(tmp_path, "train")}
    for name, kind in made.odd.items():
        assert notes[name] == ("" if kind == "progressive" else kind)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["notes"]["cmyk"]["images"] == 1
    assert report["fingerprint"] == done.fingerprint
    assert report["classes"]["train"] == dict.fromkeys(made.wnids, 3)
    assert report["archives"]["train"]["md5"] == made.md5sums.read_text().split()[0]
    assert "orientation-6: 1 image, train/" in Path(done.report).read_text()


def test_labels_may_come_from_a_list(made: Made, tmp_path: Path) -> None:
    by_devkit = unpack_imagenet(given(made), tmp_path / "a")
    listed = given(made, devkit=None, val_labels=made.val_labels)
    by_list = unpack_imagenet(listed, tmp_path / "b")
    assert by_list.fingerprint == by_devkit.fingerprint
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_one_archive_is_enough_for_its_split(made: Made, tmp_path: Path) -> None:
    train = unpack_imagenet(Archives(made.train_tar, subset=True), tmp_path / "train")
    assert train.counts == {"train": 12, "val": 0}
    val = unpack_imagenet(
        Archives(val_tar=made.val_tar, devkit=made.devkit, subset=True), tmp_path / "val"
    )
    assert val.counts == {"train": 0, "val": 9}
    assert len(tree(tmp_path / "val")) == 9


def test_a_second_call_checks_that_everything_is_there(made: Made, tmp_path: Path) -> None:
    first = unpack_imagenet(given(made), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = unpack_imagenet(given(made), tmp_path)
    assert again == first.model_copy(update={"reused": True})
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(InputError, match="with other options: choose another folder"):
        unpack_imagenet(given(made), tmp_path, decode=False)
    with pytest.raises(InputError, match="from other archives"):
        unpack_imagenet(Archives(made.train_tar, subset=True), tmp_path)
    wrong = tmp_path.with_name("md5sums")
    lines = made.md5sums.read_text().splitlines(True)
    wrong.write_text(f"{'f' * 32}  {made.train_tar.name}\n{''.join(lines[1:])}")
    with pytest.raises(DigestMismatch, match="expected ffff"):
        unpack_imagenet(given(made, md5sums=wrong), tmp_path)
    image = tmp_path / read_listing(tmp_path, "train")[0].path
    content = image.read_bytes()
    for damage, fault in (
        (lambda: image.write_bytes(content[:-1]), rf"{image.name} has .* the listing says"),
        (image.unlink, rf"{image.name} is missing"),
        (lambda: image.with_name("new.JPEG").write_bytes(b""), "new.JPEG is not in the listing"),
        (lambda: (tmp_path / "train" / "n1").mkdir(), "n1 is not in the listing"),
    ):
        damage()
        with pytest.raises(IntegrityError, match=fault):
            unpack_imagenet(given(made), tmp_path)
        shutil.rmtree(tmp_path / "train" / "n1", ignore_errors=True)
        image.with_name("new.JPEG").unlink(missing_ok=True)
        image.write_bytes(content)
    assert unpack_imagenet(given(made), tmp_path).reused


class Stop(Exception):
    pass


def stopped_after(
    monkeypatch: pytest.MonkeyPatch, written: int, archives: Archives, to: Path
) -> None:
    """Unpacks until that many parts are recorded, then ends as a crash would."""
    write = Records.write

    def counted(self: Records, split: Any, name: str, part: Any) -> None:
        if sum(1 for _ in to.glob(".unpacking/*/*.json")) == written:
            raise Stop
        write(self, split, name, part)

    with monkeypatch.context() as patch:
        patch.setattr(Records, "write", counted)
        with pytest.raises(Stop):
            unpack_imagenet(archives, to)


@pytest.mark.parametrize("written", range(7))
def test_stopped_anywhere_it_goes_on_to_the_same_end(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    monkeypatch.setattr(unpack, "_VAL_PART_IMAGES", 3)
    undisturbed = unpack_imagenet(given(made), tmp_path / "undisturbed")
    to = tmp_path / "to"
    stopped_after(monkeypatch, written, given(made), to)
    assert not has_listing(to)
    kept = {path: path.stat().st_ino for path in to.glob("[tv]*/*/*")}
    ticks: list[Tick] = []
    done = unpack_imagenet(given(made), to, watch=ticks.append)
    assert done.fingerprint == undisturbed.fingerprint
    assert tree(to) == tree(tmp_path / "undisturbed")
    again = [path for path, inode in kept.items() if path.stat().st_ino != inode]
    # The part in which it stopped, which was moved into its place but not recorded.
    assert len(again) == 3
    assert any(tick.detail == "goes on where it stopped" for tick in ticks)


def test_a_recorded_class_that_is_damaged_is_unpacked_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = unpack_imagenet(given(made), tmp_path / "whole")
    to = tmp_path / "to"
    stopped_after(monkeypatch, 3, given(made), to)
    classes = sorted((to / "train").iterdir())
    next(classes[0].iterdir()).unlink()
    next(classes[1].iterdir()).write_bytes(b"short")
    assert unpack_imagenet(given(made), to).fingerprint == whole.fingerprint
    assert tree(to) == tree(tmp_path / "whole")


def test_after_the_machine_went_down_contents_are_compared_too(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = unpack_imagenet(given(made), tmp_path / "whole")
    to = tmp_path / "to"
    stopped_after(monkeypatch, 3, given(made), to)
    image = next(sorted((to / "train").iterdir())[0].iterdir())
    # What a file system may leave of what was never synced.
    image.write_bytes(bytes(image.stat().st_size))
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("other")
    monkeypatch.setattr(records, "_BOOT", other_boot)
    assert unpack_imagenet(given(made), to).fingerprint == whole.fingerprint
    assert tree(to) == tree(tmp_path / "whole")


def test_an_archive_once_read_to_its_end_is_not_read_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(monkeypatch, 4, given(made), tmp_path)
    hashed = []

    class Noted(unpack.ReadAlong):
        def __init__(self, archive: Any) -> None:
            hashed.append(archive.path)
            super().__init__(archive)

    monkeypatch.setattr(unpack, "ReadAlong", Noted)
    unpack_imagenet(given(made), tmp_path)
    assert hashed == [made.val_tar]


def test_what_came_from_an_archive_with_a_wrong_md5_does_not_stay(tmp_path: Path) -> None:
    good, bad = photo(1), photo(2)
    archives = small(tmp_path, {TENCH: [good]}, md5sums=tmp_path / "md5sums")
    path = archives.train_tar
    assert path
    right = hashlib.md5(path.read_bytes()).hexdigest()
    archives.md5sums.write_text(f"{right}  train.tar\n")  # type: ignore[union-attr]
    # The same size, other bytes: as a flipped bit on the way.
    path.write_bytes(path.read_bytes().replace(good, bad.ljust(len(good), b"\0")[: len(good)]))
    to = tmp_path / "to"
    for _ in range(2):
        with pytest.raises(DigestMismatch, match=f"train.tar has md5 .*, expected {right}"):
            unpack_imagenet(archives, to, max_unusable=1)
        assert not has_listing(to)
    before = path.stat()
    train_tar(path, {TENCH: [good]})
    # As rsync --inplace --times leaves it.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = unpack_imagenet(archives, to)
    assert done.left_out == 0
    assert list(tree(to).values()) == [good]


def test_an_archive_that_grows_meanwhile_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = small(tmp_path, {TENCH: [photo(1)]})
    write = Records.write

    def grow(self: Records, *part: Any) -> None:
        with (tmp_path / "train.tar").open("ab") as file:
            file.write(b"more")
        write(self, *part)

    with monkeypatch.context() as patch:
        patch.setattr(Records, "write", grow)
        with pytest.raises(IntegrityError, match="changed while it was read"):
            unpack_imagenet(archives, tmp_path / "to")
    assert not has_listing(tmp_path / "to")


def test_a_stray_file_is_noticed_before_the_end(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(monkeypatch, 4, given(made), tmp_path)
    stray = tmp_path / "train" / made.wnids[0] / "stray.JPEG"
    stray.write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"stray.JPEG is not in the listing"):
        unpack_imagenet(given(made), tmp_path)
    assert not has_listing(tmp_path)
    stray.unlink()
    assert unpack_imagenet(given(made), tmp_path).counts["train"] == 12


def test_what_came_from_an_archive_that_was_replaced_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {TENCH: [photo(1)], GOLDFISH: [photo(2)]}
    archives = small(tmp_path, contents)
    stopped_after(monkeypatch, 1, archives, tmp_path / "to")
    path = archives.train_tar
    assert path
    changed = bytearray(photo(1))
    changed[-3] ^= 1
    path.write_bytes(path.read_bytes().replace(photo(1), bytes(changed)))
    unpack_imagenet(archives, tmp_path / "to", max_unusable=1)
    assert bytes(changed) in tree(tmp_path / "to").values()


def test_images_that_cannot_be_used_are_all_found_in_one_pass(tmp_path: Path) -> None:
    images = {
        TENCH: [photo(1), b"", b"text"],
        GOLDFISH: [photo(2)[:-100], photo(3)],
        SHARK: [photo(4, "ICO"), photo(5)],
    }
    archives = small(tmp_path, images)
    to = tmp_path / "to"
    with pytest.raises(
        DatasetError,
        match=r"4 images cannot be used, --max-unusable allows 3: train/n01440764/n01440764_2.JPEG "
        r"\(the file is empty\), train/n01440764/n01440764_3.JPEG \(not an image\), .*ICO",
    ):
        unpack_imagenet(archives, to, max_unusable=3)
    assert not has_listing(to)
    before = {path: path.stat().st_ino for path in to.glob("train/*/*")}
    done = unpack_imagenet(archives, to, max_unusable=4)
    assert (done.counts["train"], done.left_out) == (3, 4)
    assert {path: path.stat().st_ino for path in to.glob("train/*/*")} == before
    report = json.loads((to / "report.json").read_text())
    assert [image["name"] for image in report["left_out"]] == [
        f"train/{wnid}/{wnid}_{i}.JPEG"
        for wnid, i in ((TENCH, 2), (TENCH, 3), (GOLDFISH, 1), (SHARK, 1))
    ]


def test_a_class_without_a_usable_image_leaves_no_empty_folder(tmp_path: Path) -> None:
    archives = small(tmp_path, {TENCH: [b"text"], GOLDFISH: [photo(1)]})
    done = unpack_imagenet(archives, tmp_path / "to", max_unusable=1)
    assert [path.name for path in (tmp_path / "to" / "train").iterdir()] == [GOLDFISH]
    assert unpack_imagenet(archives, tmp_path / "to", max_unusable=1).counts == done.counts


def test_killed_right_before_the_end_the_work_is_tidied_up(made: Made, tmp_path: Path) -> None:
    unpack_imagenet(given(made), tmp_path)
    (tmp_path / ".unpacking" / "train").mkdir(parents=True)
    assert unpack_imagenet(given(made), tmp_path).reused
    assert not (tmp_path / ".unpacking").exists()


def test_without_decoding_only_headers_are_read(tmp_path: Path) -> None:
    archives = small(tmp_path, {TENCH: [photo(1), photo(2)[:-100], b"text"]})
    done = unpack_imagenet(archives, tmp_path / "to", decode=False, max_unusable=1)
    assert (done.counts["train"], done.left_out) == (2, 1)
    assert read_facts(tmp_path / "to")["decoded"] is False
    assert [row.width for row in read_listing(tmp_path / "to", "train")] == [24, 24]
    assert "not decoded" in Path(done.report).read_text()


def test_the_same_content_twice_is_reported(made: Made, tmp_path: Path) -> None:
    same, twice, thrice = photo(1), photo(2), photo(3)
    train = train_tar(
        tmp_path / "train.tar", {TENCH: [same, twice, thrice, photo(4)], GOLDFISH: [thrice, twice]}
    )
    val = val_tar(tmp_path / "val.tar", [photo(5), same, thrice])
    archives = Archives(train, val, val_labels=tmp_path / "labels", subset=True)
    (tmp_path / "labels").write_text(f"{TENCH}\n{GOLDFISH}\n{TENCH}\n")
    done = unpack_imagenet(archives, tmp_path / "to")
    report = json.loads((tmp_path / "to" / "report.json").read_text())
    assert sorted(report["duplicates"]["train_and_val"]) == [
        ["train/n01440764/n01440764_1.JPEG", "val/n01443537/ILSVRC2012_val_00000002.JPEG"],
        [
            "train/n01440764/n01440764_3.JPEG",
            "train/n01443537/n01443537_1.JPEG",
            "val/n01440764/ILSVRC2012_val_00000003.JPEG",
        ],
    ]
    assert report["duplicates"]["within_train"]["images"] == 4
    assert report["duplicates"]["within_train"]["contents_of_several_classes"] == 2
    assert report["duplicates"]["within_val"]["images"] == 0
    assert "between train and val: 2 contents, of 3 images of train and 2 of val" in (
        Path(done.report).read_text()
    )


def edition(made: Made, **more: Any) -> Edition:
    md5 = {line.split()[1]: line.split()[0] for line in made.md5sums.read_text().splitlines()}
    roles = {"train": made.train_tar, "val": made.val_tar, "devkit": made.devkit}
    whole = {
        "images": {"train": 1000, "val": 3},
        "md5": {role: md5[path.name] for role, path in roles.items()},
    }
    return Edition(**(whole | more))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All 1,000 classes, an image each."""
    folder = tmp_path_factory.mktemp("whole")
    return write_archives(
        folder, classes=1000, images_per_class=1, val_images=3, odd=False, side=32
    )


def test_the_whole_has_to_be_what_was_published(whole: Made, tmp_path: Path) -> None:
    archives = Archives(whole.train_tar, whole.val_tar, whole.devkit)
    with pytest.raises(DigestMismatch, match="fa75699e90414af021442c21a62c3abf"):
        unpack_imagenet(archives, tmp_path / "a")
    fewer = edition(whole, images={"train": 1001, "val": 3})
    with pytest.raises(DatasetError, match=r"train.tar has 1,000 images, expected 1,001"):
        unpack_imagenet(archives, tmp_path / "b", edition=fewer)
    assert unpack_imagenet(archives, tmp_path / "b", edition=edition(whole)).counts == {
        "train": 1000,
        "val": 3,
    }


def test_a_class_has_to_have_as_many_images_as_the_devkit_says(whole: Made, tmp_path: Path) -> None:
    classes = {wnid: [photo(1)] for wnid in whole.wnids}
    classes[SHARK] = [photo(1), photo(2)]
    train = train_tar(tmp_path / "ILSVRC2012_img_train.tar", classes)
    archives = Archives(train, devkit=whole.devkit)
    digests = {"train": hashlib.md5(train.read_bytes()).hexdigest()}
    other = edition(whole, md5={**edition(whole).md5, **digests})
    with pytest.raises(DatasetError, match=r"n01484850.tar in .* has 2 images, the devkit says 1"):
        unpack_imagenet(archives, tmp_path / "to", edition=other)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"train_tar": None, "val_tar": None}, "nothing to unpack"),
        ({"devkit": None}, "give --devkit or --val-labels"),
        ({"val_labels": Path("x")}, "give one"),
        ({"val_tar": None, "devkit": None, "val_labels": Path("x")}, "--val-labels is for"),
        ({"train_tar": Path("none.tar")}, "no archive at none.tar"),
        ({"devkit": Path("none.tar.gz")}, "no file at none.tar.gz"),
        ({"md5sums": Path("none")}, "no file at none"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    made: Made, tmp_path: Path, options: dict[str, Any], fault: str
) -> None:
    fields = {"train_tar": made.train_tar, "val_tar": made.val_tar, "devkit": made.devkit}
    with pytest.raises(InputError, match=fault):
        unpack_imagenet(Archives(**(fields | options)), tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_md5sums_have_to_name_every_archive(made: Made, tmp_path: Path) -> None:
    sums = tmp_path / "md5sums"
    sums.write_text("".join(made.md5sums.read_text().splitlines(True)[:2]))
    with pytest.raises(InputError, match=r"has no line for ILSVRC2012_devkit_t12\.tar\.gz"):
        unpack_imagenet(given(made, md5sums=sums), tmp_path / "to")


def test_an_image_of_val_without_a_label_is_named(made: Made, tmp_path: Path) -> None:
    val = tmp_path / "val.tar"
    val.write_bytes(tar([("ILSVRC2012_val_00000010.JPEG", photo())]))
    with pytest.raises(DatasetError, match=r"has ILSVRC2012_val_00000010.JPEG, for which there is"):
        unpack_imagenet(Archives(None, val, made.devkit, subset=True), tmp_path / "to")


def test_a_folder_with_something_else_in_it_is_left_alone(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "train" / TENCH / "mine.JPEG"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"mine")
    with pytest.raises(InputError, match="has train already, which was not unpacked by this"):
        unpack_imagenet(given(made), tmp_path)
    assert other.read_bytes() == b"mine"


def test_an_unfinished_folder_is_not_taken_for_other_archives(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(monkeypatch, 1, given(made), tmp_path)
    with pytest.raises(InputError, match="holds an unfinished unpacking of other archives"):
        unpack_imagenet(given(made), tmp_path, decode=False)


def test_two_do_not_unpack_into_the_same_folder(made: Made, tmp_path: Path) -> None:
    handle = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(TransientError, match="another process unpacks into"):
            unpack_imagenet(given(made), tmp_path)
    finally:
        os.close(handle)
    assert not unpack_imagenet(given(made), tmp_path).reused


def test_too_little_room_is_said_before_the_work(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than is free; only its end is missing, and headers are read before it is noticed.
    archive = tmp_path / "train.tar"
    with archive.open("wb") as file:
        file.write(made.train_tar.read_bytes())
        file.truncate(1 << 43)
    with pytest.raises(MachineError, match=r"need about 9,0[\d.]+ GB in .*, [\d,.]+ GB are free"):
        unpack_imagenet(Archives(archive, subset=True), tmp_path / "to")
    assert not list((tmp_path / "to").glob("train/*"))


@pytest.mark.parametrize(
    ("inodes", "free", "fault"),
    [(1000, 99, r"about 100 inodes in .*, 99 are free"), (1000, 100, None), (0, 0, None)],
)
def test_too_few_inodes_are_said_where_there_is_a_number_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inodes: int, free: int, fault: str | None
) -> None:
    has = SimpleNamespace(
        f_bsize=4096, f_frsize=4096, f_bavail=10**6, f_files=inodes, f_favail=free
    )
    monkeypatch.setattr(room.os, "statvfs", lambda path: has)
    with pytest.raises(MachineError, match=fault) if fault else nullcontext():
        expect_room(tmp_path, 10**6, 100)


def test_a_full_disk_is_one_line_that_names_the_folder_and_it_goes_on_later(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = unpack_imagenet(given(made), tmp_path / "whole")
    to = tmp_path / "to"
    write = parts._write
    count = 0

    def full(target: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        if count > 7:
            raise OSError(28, "No space left on device")
        write(target, content)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "_write", full)
        with pytest.raises(MachineError, match=rf"cannot write {to}: No space .*; free space or"):
            unpack_imagenet(given(made), to)
    assert unpack_imagenet(given(made), to).fingerprint == whole.fingerprint
