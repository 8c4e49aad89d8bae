"""found = taken + left out, whatever people leave beside their images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mixnet_core.data.account import Account, Tally
from mixnet_core.data.index import open_prepared
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.sources.image_folder import open_image_folder
from mixnet_core.errors import DatasetError
from tests.data.samples import data, write_image, write_image_folder

CLASSES = {"ant": 6, "bee": 6}


def files_below(root: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(root))


def leftovers(root: Path) -> Path:
    """A folder with twelve kinds of files that people and programs leave."""
    write_image_folder(root, CLASSES, {"ant": 2, "bee": 2})
    ant = root / "train" / "ant"
    (ant / "notes.txt").write_text("three of them")
    (ant / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (ant / "IMG_1.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    (ant / "page").write_text("<html>Moved</html>")
    (ant / "favicon.ico").write_bytes(b"\0\0\1\0\1\0\x10\x10")
    write_image(ant / "._000.png", "of a Mac")
    write_image(ant / ".ipynb_checkpoints" / "000.png", "of a notebook")
    write_image(ant / "@eaDir" / "000.png", "of a storage")
    write_image(root / "train" / "stray.png", "beside")
    write_image(root / "annotated" / "ant" / "000.png", "elsewhere")
    (root / "labels.csv").write_text("path,label\n")
    os.mkfifo(ant / "queue")
    return root


def test_twelve_kinds_of_leftovers_are_counted_by_reason_and_named(tmp_path: Path) -> None:
    root = leftovers(tmp_path / "images")
    account = open_image_folder(str(root)).account
    assert account.found == files_below(root) == 28
    assert account.taken == 16
    assert {reason: item.count for reason, item in account.left_out.items()} == {
        "hidden": 3,
        "beside the class folders of train/": 1,
        "beside the splits' folders": 1,
        "in annotated/, which is not used": 1,
        "no pictures": 1,
        "no pictures (.db)": 1,
        "no pictures (.ico)": 1,
        "no pictures (.mp4)": 1,
        "no pictures (.txt)": 1,
        "no regular files": 1,
    }
    assert account.left_out["no pictures (.txt)"].names == ("train/ant/notes.txt",)
    assert account.sentence.startswith("28 files found, 16 taken, 12 left out: 3 hidden, 1 beside")
    assert "left out, no pictures (.mp4): 1 (train/ant/IMG_1.mp4)" in account.lines


def test_preparing_keeps_the_account_and_says_it(tmp_path: Path) -> None:
    root = leftovers(tmp_path / "images")
    dataset = prepare_dataset(data("image_folder", root), tmp_path / "datasets")
    assert dataset.notes[0].startswith("28 files found, 16 taken, 12 left out: ")
    assert open_prepared(Path(dataset.root)).notes == dataset.notes
    # What is left out is no part of the dataset, but it is said as it is now.
    (root / "train" / "ant" / "more.txt").write_text("later")
    again = prepare_dataset(data("image_folder", root), tmp_path / "datasets")
    assert again.reused
    assert again.notes[0].startswith("29 files found, 16 taken, 13 left out: ")


def test_pictures_are_taken_by_what_they_hold(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, CLASSES)
    picture = Image.new("RGB", (6, 6), (9, 9, 9))
    for name, kind in (
        ("a.jfif", "JPEG"), ("b.jpe", "JPEG"), ("c.mpo", "JPEG"), ("d.pgm", "PPM"),
        ("e", "PNG"), ("f.download", "PNG"), ("g.JPG~", "JPEG"), ("IMG_1.HEIC", "JPEG"),
    ):  # fmt: skip
        picture.save(root / "train" / "bee" / name, kind)
    source = open_image_folder(str(root))
    assert source.account.left == 0
    assert source.account.taken == source.account.found == 20
    dataset = prepare_dataset(data("image_folder", root), tmp_path / "datasets")
    assert sum(dataset.counts.values()) == 20


HEADS = {
    "IMG_1.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "x.psd": b"8BPS\0\1" + bytes(20),
    "x.jxl": b"\xff\x0a" + bytes(20),
    "x.NEF": b"MM\0*\0\0\0\x08" + bytes(20),
    "x.cr2": b"II*\0\x10\0\0\0CR\2\0" + bytes(20),
    "empty.jpg": b"",
}


def test_pictures_that_are_not_read_are_refused_by_name_all_at_once(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, CLASSES)
    for name, content in HEADS.items():
        (root / "train" / "bee" / name).write_bytes(content)
    with pytest.raises(DatasetError, match=r"6 of 18 images cannot be used: .*replace or") as told:
        open_image_folder(str(root))
    for name in HEADS:
        assert name in str(told.value)
    assert "HEIC" in str(told.value)
    assert "RAW" in str(told.value)


def test_all_unusable_images_of_a_run_are_told_in_one_go(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", {"ant": 30, "bee": 30})
    for number in range(25):
        (root / "train" / "ant" / f"{number:03d}.png").write_bytes(b"no image")
    seen: list[int] = []
    for layout in ("links", "in_place"):
        with pytest.raises(DatasetError, match="25 of 60 images cannot be used") as told:
            prepare_dataset(
                data("image_folder", root, layout=layout),
                tmp_path / "datasets",
                lambda done, _: seen.append(done),
            )
        assert str(told.value).count(".png (") == 20
        assert "and 5 more; replace or remove them" in str(told.value)
    assert max(seen) == 60
    assert not list((tmp_path / "datasets").glob("image_folder-*"))


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    tally.leave_all("elsewhere", tmp_path / "gone")
    assert tally.account().notes == (
        "gone/ cannot be read (No such file or directory): its files are not counted",
    )


@pytest.mark.parametrize("place", ["everything", "train/.up", "train/ant/.up"])
def test_a_link_out_of_the_dataset_is_not_followed(place: str, tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    (root / place).symlink_to(root)
    account = open_image_folder(str(root)).account
    assert account.found == account.taken == files_below(root) == 12
    assert ("everything/ is not used" in account.notes) == (place == "everything")


def test_a_folder_whose_name_cannot_be_written_is_said_and_keeps_nothing(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", CLASSES)
    for name in (b"\xff", b"\x1b[31m"):
        (root / os.fsdecode(name)).mkdir()
    write_image(root / "\udcfe" / "0.png", "elsewhere")
    dataset = prepare_dataset(data("image_folder", root), tmp_path / "datasets")
    assert dataset.notes == (
        r"13 files found, 12 taken, 1 left out: 1 in \udcfe/, which is not used",
        r"\x1b[31m/ is not used",
        r"\udcff/ is not used",
        "no val/: val is cut from train/",
    )
    assert open_prepared(Path(dataset.root)).notes == dataset.notes


def test_a_class_that_is_a_link_to_a_folder_is_one(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "images", {"ant": 6})
    write_image_folder(tmp_path / "elsewhere", {"bee": 6})
    (root / "train" / "bee").symlink_to(tmp_path / "elsewhere" / "train" / "bee")
    assert open_image_folder(str(root)).account.taken == 12


def test_an_account_is_read_back_as_it_was_kept() -> None:
    tally = Tally(Path("/data"))
    tally.take(3)
    tally.leave("hidden", "/data/train/.x")
    tally.note("test/ is taken for val")
    account = tally.account()
    assert Account.from_json(account.as_json()) == account
    assert Account.from_json({}) == Account()
    assert Account().sentence == ""


names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\0"), max_size=8
).filter(lambda name: name not in (".", "..", "") and len(name.encode()) < 200)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "train", "train/ant", "train/.x", "other", "Test", "val/ant"]),
            names,
            st.sampled_from([b"", b"text", b"\xff\xd8\xff\xe0 jpeg", b"GIF8", b"\0" * 40]),
        ),
        max_size=12,
    )
)
def test_the_account_of_any_folder_adds_up(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, str, bytes]]
) -> None:
    root = write_image_folder(tmp_path_factory.mktemp("any"), CLASSES)
    for folder, name, content in files:
        path = root / folder / name
        if not path.exists() and (path.parent.is_dir() or not path.parent.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    try:
        account = open_image_folder(str(root)).account
    except DatasetError:
        return
    assert account.found == files_below(root)
    assert account.found == account.taken + account.left
