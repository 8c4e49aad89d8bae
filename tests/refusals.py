"""What people bring that is refused, and the line that tells them.

    python -m tests.refusals

writes docs/how-to/refusals.md. `tests/test_refusals.py` holds the page current.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from mixnet_core.cli.app import main
from tests.data.samples import write_image_folder

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "refusals.md"
HEAD = """# What is refused, and what to do

A line says what was got, what was expected and what to do. `python -m tests.refusals`
brings each of these and writes this page. `D` stands for the folder that they lie in. The codes
are the [exit codes](../reference/exit-codes.md).
"""
CLASSES = {"cat": 6, "dog": 6}


@dataclass(frozen=True)
class Refusal:
    """Something that is refused.

    Attributes:
        brought: what it is, in a few words.
        make: writes it into a folder, in which the command is then called; the command's words.
        code: the exit code.
    """

    brought: str
    make: Callable[[Path], list[str]]
    code: int = 2


def said(refusal: Refusal, folder: Path) -> tuple[int, str]:
    """Brings it: exit code and the last line on standard error, with the folder's name cut."""
    words = refusal.make(folder)
    out, code = io.StringIO(), 0
    with (
        chdir(folder),
        mock.patch.object(sys, "argv", ["mixnet", *words]),
        mock.patch.dict(os.environ, {"MIXNET_HOME": str(folder / "workspace")}),
        redirect_stderr(out),
        redirect_stdout(io.StringIO()),
    ):
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
    line = (out.getvalue().rstrip().splitlines() or [""])[-1]
    return code, line.replace(str(folder.resolve()), "D").replace(str(folder), "D")


def images(
    spoil: Callable[[Path], object], val: dict[str, int] | None = None, *more: str
) -> Callable[[Path], list[str]]:
    """A folder of images that something is wrong with, prepared."""

    def make(folder: Path) -> list[str]:
        root = write_image_folder(folder / "pets", CLASSES, val)
        spoil(root)
        return ["prepare", "finetune", "--data=pets", "--set=weights.name=null", *more]

    return make


def lists(content: str | bytes, *, val: str = "") -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        root = write_image_folder(folder / "pets", CLASSES)
        data = content if isinstance(content, bytes) else content.encode()
        (root / "train").rename(root / "images")
        (root / "train.csv").write_bytes(data)
        if val:
            (root / "val.csv").write_text(val)
        return ["prepare", "finetune", "--data=pets", "--set=weights.name=null"]

    return make


def recipe(content: str | bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        data = content if isinstance(content, bytes) else content.encode()
        (folder / "mine.yaml").write_bytes(data)
        return ["recipe", "show", "mine.yaml"]

    return make


def words(*given: str) -> Callable[[Path], list[str]]:
    return lambda folder: list(given)


def weights(name: str, content: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return ["fetch", "digits", f"--weights={name}"]

    return make


def whole(changes: dict[str, str]) -> str:
    """A bundled recipe with some of its lines written otherwise."""
    from mixnet_core.recipe import recipe as module

    text = (Path(module.__file__).parent / "bundled" / "digits.yaml").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def _row(path: str, of: str) -> str:
    return f"{path},{of}\n"


ROWS = "path,class\n" + "".join(
    _row(f"images/{name}/{number:03d}.png", name) for name in CLASSES for number in range(6)
)


def _checked(folder: Path) -> list[str]:
    write_image_folder(folder / "pets", CLASSES)
    return ["check", "finetune", "--data=pets", "--set=weights.name=null"]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def _torch() -> bytes:
    """The structure of a file that PyTorch saves."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        file.writestr("archive/data/0", bytes(64))
    return content.getvalue()


def _deeper(root: Path) -> None:
    (root / "pets").mkdir()
    (root / "train").rename(root / "pets" / "train")


def _only(root: Path, name: str) -> None:
    for folder in (root / "train").iterdir():
        if folder.name != name:
            shutil.rmtree(folder)


def _fewer(folder: Path, left: int) -> None:
    for file in sorted(folder.iterdir())[left:]:
        file.unlink()


def _file(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _pages(folder: Path, count: int) -> None:
    for number in range(count):
        _file(folder / f"{number:03d}.png", b"<html>Not found</html>")


SECTIONS: dict[str, list[Refusal]] = {
    "Folders of images": [
        Refusal("a path that is not there", words("prepare", "finetune", "--data=pest")),
        Refusal("a folder one level too high", images(lambda d: _deeper(d))),
        Refusal("no training images", images(lambda d: (d / "train").rename(d / "pictures"))),
        Refusal("one class", images(lambda d: _only(d, "cat"))),
        Refusal("a class without images", images(lambda d: (d / "train" / "eel").mkdir())),
        Refusal("a folder in a class", images(lambda d: (d / "train" / "cat" / "x").mkdir())),
        Refusal(
            "a class on a disk that is not mounted",
            images(lambda d: (d / "train" / "eel").symlink_to("/mnt/eels")),
        ),
        Refusal("val has a class of its own", images(lambda d: None, {"cat": 2, "eel": 2})),
        Refusal("val writes a class otherwise", images(lambda d: None, {"Cat": 2, "dog": 2})),
        Refusal("two classes that look alike", images(lambda d: (d / "train" / "cat ").mkdir())),
        Refusal("a class with one image", images(lambda d: _fewer(d / "train" / "cat", 1))),
        Refusal("an empty file", images(lambda d: _file(d / "train" / "cat" / "x.jpg", b""))),
        Refusal(
            "a phone's pictures",
            images(lambda d: _file(d / "train" / "cat" / "x.heic", HEIC)),
        ),
        Refusal(
            "pictures that are pages",
            images(lambda d: _pages(d / "train" / "cat", 3), None, "--global-batch=2"),
        ),
        Refusal("a batch larger than the dataset", _checked),
    ],
    "Lists": [
        Refusal("no column that is known", lists("picture_of,what\n")),
        Refusal("no column of classes", lists("path,size\nimages/cat/000.png,6\n")),
        Refusal("an image that is not there", lists(ROWS + "images/eel/1.png,cat\n")),
        Refusal("an image twice, in two classes", lists(ROWS + "images/cat/000.png,dog\n")),
        Refusal("an image in both lists", lists(ROWS, val="path,class\nimages/cat/000.png,cat\n")),
        Refusal("a path that leads out", lists(ROWS + "../secret.png,cat\n")),
        Refusal("another encoding", lists((ROWS + "images/café.png,cat\n").encode("latin-1"))),
    ],
    "Recipes": [
        Refusal("a key twice", recipe(whole({"  epochs:": "  epochs: 90\n  epochs:"}))),
        Refusal("a key that is not known", recipe(whole({"  epochs:": "  epoch: 90\n  epochs:"}))),
        Refusal("a word for a number", recipe(whole({"  lr: ": "  lr: high # "}))),
        Refusal("a list", recipe("- a\n- b\n")),
        Refusal("no YAML", recipe("a: [1, 2\nb: 3\n")),
        Refusal("a binary file", recipe(b"\x80\x02}q\x00.")),
        Refusal("a name that is nearly one", words("recipe", "show", "digit")),
        Refusal("a setting without a value", words("recipe", "show", "digits", "--set=lr")),
        Refusal("a decimal comma", words("recipe", "show", "digits", "--set=schedule.lr=0,1")),
        Refusal("an empty argument", words("run", "")),
    ],
    "Initial weights": [
        Refusal("a name that is nearly one", words("fetch", "digits", "--weights=mixnet-s")),
        Refusal("another hub's name", words("fetch", "digits", "--weights=timm/mixnet_s.ft_in1k")),
        Refusal("PyTorch's file", weights("mixnet_s.pth", _torch())),
        Refusal("a page of a login", weights("mixnet_s.ckpt", b"<!DOCTYPE html><html>Log in"), 4),
        Refusal("a pointer of Git LFS", weights("mixnet_s.ckpt", LFS), 4),
    ],
    "Registries": [
        Refusal("a path that is not there", words("releases", "--registry=relaeses")),
        Refusal("a scheme that is not known", words("releases", "--registry=ftp://host/x")),
        Refusal("a bucket's name alone", words("releases", "--registry=s3://")),
    ],
}


def page() -> str:
    """Returns the page: a table a section."""
    parts = [HEAD]
    for title, refusals in SECTIONS.items():
        rows = ["| brought | exit code | what is said |", "|---|---|---|"]
        for refusal in refusals:
            with tempfile.TemporaryDirectory() as folder:
                code, line = said(refusal, Path(folder))
            rows.append(row(refusal, code, line))
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def row(refusal: Refusal, code: int, line: str) -> str:
    """Returns its row of the page."""
    ticks = "``" if "`" in line else "`"
    text = line.removeprefix("mixnet: ").replace("|", "/")
    return f"| {refusal.brought} | {code} | {ticks}{text}{ticks} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
