"""Where the images of a list are."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mixnet_core.data.lists.paths import Located, folders_of, located, sizes_and_times
from mixnet_core.data.lists.rows import list_of
from mixnet_core.errors import DatasetError


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def find(root: Path, *rows: str, lists: tuple[str, ...] = ("train.csv",)) -> Located:
    found = list_of("\n".join(["path", *rows, ""]).encode(), str(root / lists[0]))
    return located(found, root, folders_of(*lists))


def refusal(root: Path, *rows: str) -> str:
    with pytest.raises(DatasetError) as error:
        find(root, *rows)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_path_may_be_written_in_many_ways(tmp_path: Path) -> None:
    put(tmp_path, "x/a.png", "x/b c%20d.png")
    for written in ("x/a.png", "./x/a.png", "x//a.png", "x\\a.png", ".\\x\\a.png", " x/a.png "):
        assert find(tmp_path, written) == ("", ["x/a.png"])
    assert find(tmp_path, f"{tmp_path}/x/a.png").paths == ["x/a.png"]
    assert find(tmp_path, "x/b c%20d.png").paths == ["x/b c%20d.png"]


def test_an_absolute_path_leads_inside_through_a_link_to_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to("real")
    assert find(tmp_path / "link", f"{tmp_path}/link/a.png").paths == ["a.png"]
    assert find(tmp_path / "link", f"{tmp_path}/real/a.png").paths == ["a.png"]


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/a.png", "../a.png", "x/../../a.png", "x\\..\\a.png", "C:\\data\\a.png", "c:/a.png"),
        *("s3://bucket/a.png", "\\\\server\\share\\a.png"),
    ],
)
def test_a_path_outside_is_refused(tmp_path: Path, path: str) -> None:
    assert "train.csv, line 2: path" in (message := refusal(tmp_path, path))
    assert f"is not inside the folder: expected a path from {tmp_path}" in message


def test_a_secret_in_a_path_is_not_quoted(tmp_path: Path) -> None:
    assert "hunter2secret" not in refusal(tmp_path, "https://me:hunter2secret@host/a.png")


def test_an_id_is_the_file_of_that_name_with_an_images_suffix(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.PNG", "3", "x/4.001.tif", "1.txt", "notes.txt")
    assert find(tmp_path, "1", "2", "3", "x/4.001").paths == ["1.jpg", "2.PNG", "3", "x/4.001.tif"]
    assert "notes, listed in train.csv, cannot be read (no such file)" in refusal(tmp_path, "notes")
    assert "cannot be read (no such file, but 1.jpg is there)" in refusal(tmp_path, "1.png")
    put(tmp_path, "1.png.jpg")
    assert "1.png, listed in train.csv, cannot be read" in refusal(tmp_path, "1.png")


def test_two_files_that_fit_an_id_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "a.png")
    message = refusal(tmp_path, "a")
    assert "cannot be read (a.jpg and a.png both fit: write the one that is meant)" in message
    put(tmp_path, "a")
    assert find(tmp_path, "a").paths == ["a"]


@pytest.mark.parametrize(
    "folder", ["train", "train_images", "train-images", "images/train", "train/images", "images"]
)
def test_the_images_may_be_in_a_folder_beside_the_list(tmp_path: Path, folder: str) -> None:
    put(tmp_path, f"{folder}/1.jpg", f"{folder}/x/2.jpg")
    paths = [f"{folder}/1.jpg", f"{folder}/x/2.jpg"]
    assert find(tmp_path, "1.jpg", "x/2.jpg") == (folder, paths)
    assert find(tmp_path, "1", "x/2") == (folder, paths)


def test_the_folder_that_has_all_of_them_is_taken(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "images/1.jpg", "images/2.jpg", "val/1.jpg", "val/2.jpg")
    assert find(tmp_path, "1", "2").folder == "images"
    assert find(tmp_path, "1", "2", lists=("val.csv", "train.csv")).folder == "val"
    put(tmp_path, "2.jpg")
    assert find(tmp_path, "1", "2").folder == ""


def test_a_val_list_cut_from_train_finds_its_images_where_they_are(tmp_path: Path) -> None:
    put(tmp_path, "train/1.jpg", "train/2.jpg")
    assert find(tmp_path, "2", lists=("val.csv", "train.csv")) == ("train", ["train/2.jpg"])


def test_near_matches_are_named_and_not_taken(tmp_path: Path) -> None:
    put(tmp_path, "x/a.JPG", "x/B.png")
    assert "x/a.jpg, listed in train.csv, cannot be read (no such file, but a.JPG is there)" in (
        refusal(tmp_path, "x/a.jpg")
    )
    assert "but B.png is there" in refusal(tmp_path, "x/b.png")
    assert "(no such folder, but x/ is there)" in refusal(tmp_path, "X/a.JPG")
    assert "cannot be read (no such folder)" in refusal(tmp_path, "y/a.JPG")
    assert "cannot be read (no such folder)" in refusal(tmp_path, "x/a.JPG/b.png")
    assert "cannot be read (no such f" in refusal(tmp_path, f"{'n' * 300}/{'m' * 300}.png")


def test_accents_may_be_composed_or_not(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    put(tmp_path, decomposed)
    assert find(tmp_path, composed).paths == [decomposed]
    put(tmp_path, composed)
    assert find(tmp_path, composed).paths == [composed]


def test_a_name_with_a_backslash_is_found_where_it_was_unpacked_so(tmp_path: Path) -> None:
    put(tmp_path, "x\\a.png", "train/y\\b.png")
    assert find(tmp_path, "x\\a.png").paths == ["x\\a.png"]
    assert find(tmp_path, "y\\b.png") == ("train", ["train/y\\b.png"])


def test_missing_images_are_counted_and_twenty_are_named(tmp_path: Path) -> None:
    put(tmp_path, "here.png")
    message = refusal(tmp_path, "here.png", *(f"{number:02d}.png" for number in range(25)))
    assert (
        f"{tmp_path}/00.png, listed in train.csv, cannot be read (no such file), line 3" in message
    )
    assert "so it is with 25 of its 26 images: 01.png (line 4), 02.png (line 5)" in message
    assert "19.png (line 22), ...: put the files there, or correct or remove the rows" in message
    assert "20.png" not in message


def test_what_is_missing_is_told_of_the_folder_that_has_most(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "images/1.png", "images/2.png", "img/1.png")
    message = refusal(tmp_path, "1.png", "2.png", "3.png")
    assert f"{tmp_path}/images/3.png, listed in train.csv, cannot be read" in message
    assert "so it is with" not in message
    assert "line 4 (looked for in the lists' folder, img/ too): put the files there" in message


def test_a_near_match_is_named_wherever_it_is(tmp_path: Path) -> None:
    put(tmp_path, "images/1.JPG", "images/2.JPG")
    assert "images/1.jpg, listed in train.csv, cannot be read (no such file, but 1.JPG is" in (
        refusal(tmp_path, "1.jpg", "2.jpg")
    )


def test_what_is_no_file_is_told_for_all_rows(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere")
    found = list_of(b"path\na.png\nfolder.png\nlink.png\n", str(tmp_path / "train.csv"))
    paths = located(found, tmp_path, [""]).paths
    with pytest.raises(
        DatasetError, match=r"folder\.png, listed in train\.csv, is no file, line 3"
    ):
        sizes_and_times(found, tmp_path, paths)
    with pytest.raises(DatasetError, match=r"with 2 of its 3 images: link\.png \(line 4\)"):
        sizes_and_times(found, tmp_path, paths)


def test_some_rows_can_be_looked_for_alone(tmp_path: Path) -> None:
    put(tmp_path, "images/0.png", "images/2.png")
    found = list_of(b"path\n0\n1\n2\n", str(tmp_path / "train.csv"))
    places = located(found, tmp_path, folders_of("train.csv"), range(0, 3, 2))
    assert places == ("images", ["images/0.png", "images/2.png"])
