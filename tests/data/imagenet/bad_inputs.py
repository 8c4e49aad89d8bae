"""What archives of ImageNet may have wrong or odd about them, and what is to happen.

    python -m tests.data.imagenet.bad_inputs

runs them all and prints the table of docs/how-to/imagenet.md.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from benchmarks.images.imagenet_archives import write_archives
from benchmarks.images.photographs import photographs
from mixnet_core.cli.app import main
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.listing import read_listing
from tests.data.imagenet.tars import Entry, photo, special, tar, train_tar, val_tar

TENCH, GOLDFISH = "n01440764", "n01443537"
# What odd images are made from, and what is to be seen of them: pixels a side.
SIDE = 64

Make = Callable[[Path], list[str]]
"""Writes archives into a folder; the options that name them."""


@dataclass(frozen=True)
class Refused:
    """Ends in one line.

    Attributes:
        code: the command's exit code.
        words: all are in the line.
        one_image: whether `--max-unusable 1` leaves the image out instead.
    """

    code: int
    words: tuple[str, ...]
    one_image: bool = False


@dataclass(frozen=True)
class Kept:
    """Is unpacked and read.

    Attributes:
        notes: the listing's.
        seen: (SIDE, SIDE, 3) uint8 RGB, what training and evaluation have to see of it.
        what: the rule, for people.
    """

    notes: str
    seen: NDArray[np.uint8]
    what: str


@dataclass(frozen=True)
class BadInput:
    name: str
    make: Make
    happens: Refused | Kept


def run(bad: BadInput, folder: Path, *more: str) -> tuple[int, str]:
    """`mixnet prepare imagenet` into <folder>/to: exit code, and the last line of what it says."""
    archives = folder / "archives"
    archives.mkdir(exist_ok=True)
    arguments = [*bad.make(archives), f"--to={folder / 'to'}", *more]
    said, code = io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["mixnet", "prepare", "imagenet", *arguments]),
        redirect_stderr(said),
        redirect_stdout(io.StringIO()),
    ):
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
    return code, (said.getvalue().splitlines() or [""])[-1]


def _train(folder: Path, contents: list[bytes]) -> list[str]:
    return [f"--train-tar={train_tar(folder / 'train.tar', {TENCH: contents})}", "--subset"]


def _image(content: bytes) -> Make:
    """Two images in a class: an ordinary one, and that one."""
    return lambda folder: _train(folder, [photo(1), content])


def _member(entry: Entry) -> Make:
    """Beside the image of a class."""

    def make(folder: Path) -> list[str]:
        inner = tar([(f"{TENCH}_1.JPEG", photo(1)), entry])
        (folder / "train.tar").write_bytes(tar([(f"{TENCH}.tar", inner)]))
        return [f"--train-tar={folder / 'train.tar'}", "--subset"]

    return make


def _outer(entry: Entry) -> Make:
    """Beside the tar of a class."""

    def make(folder: Path) -> list[str]:
        inner = tar([(f"{TENCH}_1.JPEG", photo(1))])
        (folder / "train.tar").write_bytes(tar([(f"{TENCH}.tar", inner), entry]))
        return [f"--train-tar={folder / 'train.tar'}", "--subset"]

    return make


def _absolute(folder: Path) -> list[str]:
    return _member((f"{folder.parent}/outside.JPEG", photo(2)))(folder)


def _absolute_outer(folder: Path) -> list[str]:
    return _outer((f"{folder.parent}/{GOLDFISH}.tar", photo(2)))(folder)


def _cut_outer(folder: Path) -> list[str]:
    options = _train(folder, [photo(1)])
    path = train_tar(folder / "train.tar", {TENCH: [photo(1)], GOLDFISH: [photo(2)]})
    path.write_bytes(path.read_bytes()[:-11_000])
    return options


def _cut_inner(folder: Path) -> list[str]:
    inner = tar((f"{TENCH}_{i}.JPEG", photo(i)) for i in (1, 2))
    # Within the second image: after two headers and the first one's blocks.
    first = 512 + -(-len(photo(1)) // 512) * 512
    (folder / "train.tar").write_bytes(tar([(f"{TENCH}.tar", inner[: first + 512 + 100])]))
    return [f"--train-tar={folder / 'train.tar'}", "--subset"]


def _cut_val(folder: Path) -> list[str]:
    path = val_tar(folder / "val.tar", [photo(1), photo(2)])
    path.write_bytes(path.read_bytes()[: 512 + 300])
    (folder / "labels.txt").write_text(f"{TENCH}\n{TENCH}\n")
    return [f"--val-tar={path}", f"--val-labels={folder / 'labels.txt'}", "--subset"]


def _wrong_md5(folder: Path) -> list[str]:
    (folder / "md5sums").write_text("1d675b47d978889d74fa0da5fadfb00e  train.tar\n")
    return [*_train(folder, [photo(1)]), f"--md5sums={folder / 'md5sums'}"]


def _classes(folder: Path, names: list[str]) -> list[str]:
    image = photo(1)
    return [f"--train-tar={train_tar(folder / 'train.tar', {name: [image] for name in names})}"]


def _labels(folder: Path) -> list[str]:
    path = val_tar(folder / "val.tar", [photo(1), photo(2), photo(3)])
    (folder / "labels.txt").write_text(f"{TENCH}\n{GOLDFISH}\n")
    return [f"--val-tar={path}", f"--val-labels={folder / 'labels.txt'}", "--subset"]


def _ground_truth(folder: Path) -> list[str]:
    made = write_archives(folder, classes=1, images_per_class=1, val_images=3, odd=False, side=32)
    return [
        f"--val-tar={made.val_tar}",
        f"--devkit={made.devkit}",
        f"--md5sums={made.md5sums}",
    ]


def _photograph() -> Image.Image:
    # Scaled down, so that a few pixels have something in them.
    whole = photographs()[0].resize((160, 107))
    return whole.crop((40, 20, 40 + SIDE, 20 + SIDE))


def _file(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    # The photograph's profile is one that libpng warns of.
    image.save(buffer, format, icc_profile=None, **options)
    return buffer.getvalue()


def _jpeg(image: Image.Image, **options: object) -> bytes:
    return _file(image, quality=97, subsampling=0, **options)


def _png_of(pixels: NDArray[np.uint16]) -> bytes:
    # Pillow writes no colours of 16 bits.
    return cv2.imencode(".png", pixels)[1].tobytes()


def _claiming(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header says something else."""
    content = _file(Image.new("RGB", (1, 1)), "PNG")
    ihdr = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:29]
    return content[:12] + ihdr + zlib.crc32(ihdr).to_bytes(4, "big") + content[33:]


def _bad_archives() -> list[BadInput]:
    out = "n01440764.tar in {archives}/train.tar has the path"
    outer = "mixnet: {archives}/train.tar has the path"
    link = "n01440764.tar in {archives}/train.tar has the link 'n01440764_2.JPEG' to"
    outer_link = "mixnet: {archives}/train.tar has the link 'n01443537.tar' to"
    symlink, hard_link = tarfile.SYMTYPE, tarfile.LNKTYPE
    return [
        BadInput(
            "train archive cut off",
            _cut_outer,
            Refused(4, ("/train.tar is cut off within n01443537.tar: ", "fetch the archive")),
        ),
        BadInput(
            "a class's tar cut off",
            _cut_inner,
            Refused(4, ("n01440764.tar in {archives}/train.tar", "within n01440764_2.JPEG: 100 ")),
        ),
        BadInput(
            "val archive cut off",
            _cut_val,
            Refused(4, ("/val.tar is cut off within ILSVRC2012_val_00000001.JPEG: 300 of",)),
        ),
        BadInput(
            "wrong md5",
            _wrong_md5,
            Refused(4, ("/train.tar has md5 ", "expected 1d675b47d978889d74fa0da5fadfb00e")),
        ),
        BadInput(
            "a class missing",
            lambda folder: _classes(folder, [wnid for wnid in wnids() if wnid != GOLDFISH]),
            Refused(2, ("lacks 1 of the 1,000 classes, the first is n01443537.tar", "--subset")),
        ),
        BadInput(
            "a class too many",
            lambda folder: _classes(folder, [TENCH, "n00000001"]),
            Refused(2, ("'n00000001.tar', which is none of the 1,000 classes",)),
        ),
        BadInput(
            "val labels: too few lines",
            _labels,
            Refused(2, ("/labels.txt has 2 labels, there are 3 val images",)),
        ),
        BadInput(
            "devkit: too few labels",
            _ground_truth,
            Refused(2, ("has 3 labels, expected 50,000", "ILSVRC2012_validation_ground_truth")),
        ),
        BadInput("absolute path in a class's tar", _absolute, Refused(2, (out, "/outside.JPEG'"))),
        BadInput(
            "absolute path in the train archive", _absolute_outer, Refused(2, (outer, "leads out"))
        ),
        BadInput(
            "`..` in a class's tar",
            _member((f"../../{TENCH}_2.JPEG", photo(2))),
            Refused(2, (out, "'../../n01440764_2.JPEG', which leads out: refused")),
        ),
        BadInput(
            "`..` in the train archive",
            _outer((f"../{GOLDFISH}.tar", b"")),
            Refused(2, (outer, "'../n01443537.tar', which leads out: refused")),
        ),
        BadInput(
            "symbolic link in a class's tar",
            _member(special(f"{TENCH}_2.JPEG", symlink, "/etc/passwd")),
            Refused(2, (link, "'/etc/passwd': refused")),
        ),
        BadInput(
            "symbolic link in the train archive",
            _outer(special(f"{GOLDFISH}.tar", symlink, "/etc/passwd")),
            Refused(2, (outer_link, "'/etc/passwd': refused")),
        ),
        BadInput(
            "hard link in a class's tar",
            _member(special(f"{TENCH}_2.JPEG", hard_link, f"{TENCH}_1.JPEG")),
            Refused(2, (link, "'n01440764_1.JPEG': refused")),
        ),
        BadInput(
            "hard link in the train archive",
            _outer(special(f"{GOLDFISH}.tar", hard_link, f"{TENCH}.tar")),
            Refused(2, (outer_link, "'n01440764.tar': refused")),
        ),
    ]


def _bad_images() -> list[BadInput]:
    rows = [
        ("JPEG of 0 bytes", b"", "the file is empty"),
        ("text named .JPEG", b"not found", "not an image"),
        ("JPEG cut off", _jpeg(_photograph())[:-200], "image file is truncated ("),
        ("PNG of 20,000 x 15,000", _claiming(20_000, 15_000), "more than 89,478,485 pixels"),
    ]
    start = "1 image cannot be used, --max-unusable allows 0: train/n01440764/n01440764_2.JPEG ("
    return [
        BadInput(name, _image(content), Refused(2, (start + reason,), one_image=True))
        for name, content, reason in rows
    ]


def _odd_images() -> list[BadInput]:
    base = _photograph()
    colours = np.asarray(base)
    one = np.asarray(base.convert("L"))
    grey = np.repeat(one[..., None], 3, axis=2)
    # What 16 bits have below is other than what they have above.
    deep, deep_one = (pixels.astype(np.uint16) * 256 + (255 - pixels) for pixels in (colours, one))
    transparent = base.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(base.size))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    column = base.crop((SIDE // 2, 0, SIDE // 2 + 1, SIDE))
    lines = np.asarray(column.resize((SIDE, SIDE)))
    one_pixel = Image.new("RGB", (1, 1), (200, 120, 40))
    rows: list[tuple[str, bytes, str, NDArray[np.uint8], str]] = [
        ("CMYK JPEG", _jpeg(base.convert("CMYK")), "cmyk", colours, "read as RGB"),
        ("grey JPEG", _jpeg(base.convert("L")), "grey", grey, "repeated in all three channels"),
        ("JPEG turned by EXIF", _jpeg(base, exif=turned), "orientation-6", colours, "not turned"),
        ("progressive JPEG", _jpeg(base, progressive=True), "", colours, "read as any other"),
        ("PNG named .JPEG", _file(base, "PNG"), "png", colours, "read as PNG"),
        ("PNG with alpha", _file(transparent, "PNG"), "png alpha", colours, "alpha is left out"),
        (
            "16-bit PNG",
            _png_of(deep[..., ::-1]),
            "png 16-bit",
            colours,
            "the upper 8 bits are taken",
        ),
        (
            *("16-bit grey PNG", _png_of(deep_one), "png grey 16-bit", grey),
            "the upper 8 bits are taken",
        ),
        (
            *("JPEG of 1 x 1", _jpeg(one_pixel), ""),
            np.broadcast_to(np.asarray(one_pixel), colours.shape),
            "enlarged",
        ),
        (
            *(f"JPEG of 20,000 x {SIDE}", _jpeg(column.resize((20_000, SIDE))), "", lines),
            "read as any other",
        ),
    ]
    return [
        BadInput(name, _image(content), Kept(notes, seen, what))
        for name, content, notes, seen, what in rows
    ]


BAD_INPUTS = [*_bad_archives(), *_bad_images(), *_odd_images()]


def table() -> str:
    """Markdown of what really happens."""
    lines = ["| input | exit code | what happens |", "|---|---|---|"]
    for bad in BAD_INPUTS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            code, said = run(bad, folder)
            if isinstance(bad.happens, Kept):
                notes = read_listing(folder / "to", "train")[1].notes
                noted = f"; noted as `{notes}`" if notes else ""
                lines.append(f"| {bad.name} | {code} | kept, {bad.happens.what}{noted} |")
            else:
                said = said.replace(f"{folder}/archives/", "").replace(name, "/data")
                lines.append(f"| {bad.name} | {code} | `{said.removeprefix('mixnet: ')}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
