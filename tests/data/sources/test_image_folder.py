from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mixnet_core.data.source import ImageFile
from mixnet_core.data.sources.image_folder import open_image_folder
from mixnet_core.errors import DatasetError, MachineError
from tests.data.samples import write_image, write_image_folder

CLASSES = {"ant": 3, "bee": 2}


def test_labels_number_the_sorted_folders_of_train_in_val_too(tmp_path: Path) -> None:
    # "ant" has no images in val: its number must stay its own all the same.
    root = write_image_folder(tmp_path, {"cow": 2, "ant": 1, "bee": 1}, {"cow": 1, "bee": 2})
    source = open_image_folder(str(root))
    assert source.classes == ("ant", "bee", "cow")
    assert source.train.labels.tolist() == [0, 1, 2, 2]
    assert source.val is not None
    assert source.val.labels.tolist() == [1, 1, 2]
    assert source.val.names == ("000.png", "001.png", "000.png")


def test_without_val_there_is_none(tmp_path: Path) -> None:
    assert open_image_folder(str(write_image_folder(tmp_path, CLASSES))).val is None


def test_hidden_files_are_ignored_and_other_files_counted(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, CLASSES, CLASSES)
    write_image(root / "train" / ".cache" / "x.png", "hidden class")
    write_image(root / "train" / "ant" / ".hidden.png", "hidden image")
    (root / "train" / "ant" / "notes.txt").write_text("three of them")
    (root / "val" / "bee" / "Thumbs.db").write_bytes(b"")
    (root / "val" / "README.md").write_text("about")
    source = open_image_folder(str(root))
    assert source.classes == ("ant", "bee")
    assert source.train.names == ("000.png", "001.png", "002.png", "000.png", "001.png")
    account = source.account
    assert (account.found, account.taken, account.left) == (15, 10, 5)
    assert {reason: item.count for reason, item in account.left_out.items()} == {
        "hidden": 2,
        "no pictures (.txt)": 1,
        "no pictures (.db)": 1,
        "no pictures (.md)": 1,
    }


def no_folder(root: Path) -> None:
    shutil.rmtree(root)


def no_train(root: Path) -> None:
    (root / "train").rename(root / "images")


def no_classes(root: Path) -> None:
    shutil.rmtree(root / "train")
    write_image(root / "train" / "loose.png", "loose")


def empty_class(root: Path) -> None:
    (root / "train" / "cow").mkdir()


def empty_class_in_val(root: Path) -> None:
    shutil.rmtree(root / "val" / "bee")
    (root / "val" / "bee").mkdir()


def val_without_classes(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").mkdir()


def class_only_in_val(root: Path) -> None:
    write_image(root / "val" / "aphid" / "0.png", "aphid")


def folder_in_a_class(root: Path) -> None:
    write_image(root / "train" / "ant" / "more" / "0.png", "more")


def broken_link(root: Path) -> None:
    (root / "train" / "ant" / "gone.png").symlink_to(root / "nowhere.png")


def a_pipe(root: Path) -> None:
    os.mkfifo(root / "train" / "ant" / "pipe.png")


def a_line_break(root: Path) -> None:
    write_image(root / "train" / "a\nb" / "0.png", "line break")


def not_utf8(root: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_image(root / "train" / "ant" / "0.png", "x").rename(root / "train" / "ant" / name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_folder, r"is no folder: expected one that has train/<class>/"),
        (no_train, r"has no folder train/"),
        (no_classes, r"train has no class folders: expected"),
        (empty_class, r"train/cow has no images"),
        (empty_class_in_val, r"val/bee has no images"),
        (val_without_classes, r"val has no class folders"),
        (class_only_in_val, r"val has class 'aphid', which .*train lacks"),
        (folder_in_a_class, r"train/ant has a folder 'more'"),
        (broken_link, r"train/ant/gone\.png is a broken link"),
        (a_pipe, r"train/ant/pipe\.png is no regular file"),
        (a_line_break, r"named 'a\\nb', which is not plain UTF-8"),
        (not_utf8, r"named 'caf\\udce9.png', which is not plain UTF-8"),
    ],
)
def test_a_malformed_folder_is_one_line_that_names_the_fault(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES, CLASSES)
    spoil(root)
    with pytest.raises(DatasetError, match=message) as caught:
        open_image_folder(str(root))
    assert "\n" not in str(caught.value)


def test_identity_is_the_same_whatever_order_the_files_were_made_in(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES, CLASSES)
    stamp(root)
    first = open_image_folder(str(root))
    shutil.rmtree(root)
    write_image_folder(root, CLASSES, CLASSES, backwards=True)
    stamp(root)
    second = open_image_folder(str(root))
    assert first.identity == second.identity
    assert first.train.names == second.train.names


def test_identity_changes_with_a_file_and_with_the_place(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    stamp(root)
    before = open_image_folder(str(root)).identity
    os.utime(root / "train" / "ant" / "000.png", ns=(1, 2))
    touched = open_image_folder(str(root)).identity
    stamp(root)
    assert open_image_folder(str(root)).identity == before
    (root / "train" / "ant" / "000.png").rename(root / "train" / "ant" / "zzz.png")
    renamed = open_image_folder(str(root)).identity
    copy = shutil.copytree(root, tmp_path / "copy")
    stamp(copy)
    identities = [before, touched, renamed, open_image_folder(str(copy)).identity]
    assert len({identity["listing"] for identity in identities}) == 4


def stamp(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))


def written(source: Path, target: Path) -> ImageFile:
    """Writes the only image of class "ant" in a folder with `source` in it."""
    return open_image_folder(str(source.parents[2])).train.write(0, target)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.jpg", "RGB"), ("a.JPEG", "L"), ("a.jpg", "CMYK"), ("a.png", "RGBA"), ("a.png", "P"),
        ("a.png", "I;16"), ("a.bmp", "RGB"), ("a.tiff", "RGB"), ("a.ppm", "RGB"),
    ],
)  # fmt: skip
def test_an_image_of_a_readable_format_is_linked_with_its_digest(
    tmp_path: Path, name: str, mode: str
) -> None:
    source = tmp_path / "train" / "ant" / name
    source.parent.mkdir(parents=True)
    Image.new(mode, (20, 10)).save(source)
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert written(source, tmp_path / "linked") == (digest, len(content))
    assert source.samefile(tmp_path / "linked")


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    # ImageNet has a PNG that is called .JPEG.
    source = write_image(tmp_path / "train" / "ant" / "a.png", "a")
    source = source.rename(source.with_suffix(".JPEG"))
    written(source, tmp_path / "linked")
    write_image(source, "b", format="ICO")
    with pytest.raises(
        DatasetError,
        match=r"a\.JPEG cannot be used \(ICO, .*convert it to JPEG or PNG\): repl",
    ):
        written(source, tmp_path / "other")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_an_image_that_does_not_decode_is_named(tmp_path: Path, suffix: str, damage: str) -> None:
    source = write_image(tmp_path / "train" / "ant" / f"a{suffix}", "a")
    content = source.read_bytes()
    # Half of the coded pixels are missing, the header is whole.
    damaged = {"empty": b"", "cut": content[: -len(content) // 8], "text": b"no image at all"}
    source.write_bytes(damaged[damage])
    with pytest.raises(DatasetError, match=rf"a\{suffix} cannot be used \(.+\): repl") as caught:
        written(source, tmp_path / "linked")
    assert "\n" not in str(caught.value)
    assert "object at" not in str(caught.value)
    assert not (tmp_path / "linked").exists()


def test_a_link_is_followed_to_its_file(tmp_path: Path) -> None:
    real = write_image(tmp_path / "store" / "real.png", "a")
    (tmp_path / "train" / "ant").mkdir(parents=True)
    (tmp_path / "train" / "ant" / "a.png").symlink_to(real)
    written(tmp_path / "train" / "ant" / "a.png", tmp_path / "linked")
    assert not (tmp_path / "linked").is_symlink()
    assert real.samefile(tmp_path / "linked")


def test_an_image_is_copied_where_the_file_system_cannot_link(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    source = write_image(tmp_path / "train" / "ant" / "a.png", "a")
    target = elsewhere / f"{os.getpid()}-copied.png"
    try:
        found = written(source, target)
        assert target.read_bytes() == source.read_bytes()
        assert found.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    finally:
        target.unlink(missing_ok=True)


def test_an_image_that_vanished_is_a_machine_error_that_names_it(tmp_path: Path) -> None:
    source = write_image(tmp_path / "train" / "ant" / "a.png", "a")
    images = open_image_folder(str(tmp_path)).train
    source.unlink()
    with pytest.raises(MachineError, match=r"cannot read .*/train/ant/a\.png"):
        images.write(0, tmp_path / "linked")
