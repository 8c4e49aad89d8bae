"""What of files, folders, patterns and lists is a picture to predict."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from mixnet_core.data.account import Account, Tally
from mixnet_core.data.named_pictures import NamedPicture, listed_paths, named_pictures
from mixnet_core.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path: Path | bytes) -> None:
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(content.getvalue())


def found(
    *names: str, listed: bytes = b"", null: bool = False
) -> tuple[list[NamedPicture], Account]:
    tally = Tally(Path())
    pictures = list(named_pictures(names, tally, listed_paths(io.BytesIO(listed), null=null)))
    return pictures, tally.account()


def plain(*paths: str) -> list[NamedPicture]:
    return [NamedPicture(path) for path in paths]


def test_below_a_folder_the_content_decides_and_the_rest_is_counted(folder: Path) -> None:
    for name in ("d/b.jpg", "d/a/2.png", "d/a/1.png", "d/c", "d/.hidden/x.png", "d/.y.png"):
        picture(folder / name)
    (folder / "d" / "notes.txt").write_text("no picture")
    (folder / "d" / "photo.txt").write_bytes((folder / "d" / "c").read_bytes())
    (folder / "d" / "text.png").write_text("not a picture either, which reading it says")
    pictures, account = found("d")
    assert pictures == plain(
        "d/a/1.png", "d/a/2.png", "d/b.jpg", "d/c", "d/photo.txt", "d/text.png"
    )
    assert account.taken == 6
    assert {reason: item.count for reason, item in account.left_out.items()} == {
        "hidden": 2,
        "no pictures (.txt)": 1,
    }
    assert account.sentence.startswith("9 files found, 6 taken, 3 left out")


def test_what_is_named_itself_is_a_picture_or_says_why_it_is_none(folder: Path) -> None:
    picture(folder / "a.png")
    (folder / "link.png").symlink_to("nowhere.png")
    (folder / "notes.txt").write_text("reading it says what it is")
    os.mkfifo(folder / "pipe.png")
    pictures, _ = found("a.png", "link.png", "none.png", "pipe.png", "notes.txt", "a.png")
    assert pictures == [
        NamedPicture("a.png"),
        NamedPicture("link.png", "a link that leads nowhere"),
        NamedPicture("none.png", "there is no such file"),
        NamedPicture("pipe.png", "it is no regular file"),
        NamedPicture("notes.txt"),
        # What is named twice is there twice.
        NamedPicture("a.png"),
    ]


def test_links_in_folders_are_followed_once_and_told_where_they_lead_nowhere(folder: Path) -> None:
    picture(folder / "d" / "sub" / "a.png")
    (folder / "d" / "again").symlink_to("sub")
    (folder / "d" / "up").symlink_to("..")
    (folder / "d" / "circle.png").symlink_to("circle.png")
    (folder / "d" / "gone.png").symlink_to("nowhere")
    os.mkfifo(folder / "d" / "pipe.png")
    pictures, account = found("d")
    paths = {item.path: item.reason for item in pictures}
    assert paths == {
        "d/again/a.png": "",
        "d/circle.png": "a link that leads nowhere",
        "d/gone.png": "a link that leads nowhere",
    }
    assert account.left_out["no regular files"].count == 1
    assert account.left_out["links to folders that were looked into already"].count == 2


def test_a_pattern_is_matched_unless_a_file_has_that_very_name(folder: Path) -> None:
    for name in ("d/2.png", "d/1.png", "d/x/3.png", "[12].png"):
        picture(folder / name)
    assert found("d/[12].png")[0] == plain("d/1.png", "d/2.png")
    assert found("[12].png")[0] == plain("[12].png")
    assert found("d/**/*.png")[0] == plain("d/1.png", "d/2.png", "d/x/3.png")
    assert found("*.gif")[0] == [NamedPicture("*.gif", "nothing matches the pattern")]


def test_a_list_holds_paths_a_line_and_none_of_it_is_a_pattern(folder: Path) -> None:
    for name in ("a.png", "b*.png", "bb.png", "d/c.png"):
        picture(folder / name)
    listed = b"a.png\r\n\nb*.png\n  \nd\na.png"
    assert found("-", "bb.png", listed=listed)[0] == plain(
        "a.png", "b*.png", "d/c.png", "a.png", "bb.png"
    )
    two_lines = "two\nlines.png"
    picture(folder / two_lines)
    listed = b"two\nlines.png\0a.png\0"
    assert found("-", listed=listed, null=True)[0] == plain(two_lines, "a.png")
    with pytest.raises(InputError, match=r"find -print0` takes --null"):
        found("-", listed=listed)
    with pytest.raises(InputError, match="no paths, one a line"):
        found("-", listed=b"\xff\xd8" * 70_000)


def test_a_name_that_is_no_utf_8_is_a_name(folder: Path) -> None:
    picture(os.fsencode(folder) + b"/d/caf\xe9.png")
    (item,) = found("d")[0]
    assert os.fsencode(item.path) == b"d/caf\xe9.png"
    assert item.reason == ""
    assert found("-", listed=b"d/caf\xe9.png\n")[0] == [item]


def test_folders_may_be_deeper_than_python_calls(folder: Path) -> None:
    depth = 1200
    os.mkdir("deep")  # noqa: PTH102
    try:
        os.chdir("deep")
        for _ in range(depth):
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
    finally:
        os.chdir(folder)
    picture(folder / "deep" / "a.png")
    pictures, _ = found("deep")
    assert pictures[0] == NamedPicture("deep/a.png")
