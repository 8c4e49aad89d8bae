"""ILSVRC2012's archives in small: the official names and structure, with real photographs in them.

    python -m benchmarks.images.imagenet_archives FOLDER --classes 100 --images 180 --val 1000

The structure is that of the files at image-net.org: a tar of a tar a class, a flat tar of val
images, and the devkit with its ground truth and meta.mat. The images do not show their classes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import savemat

from benchmarks.images.imagenet_images import ODD, SIDE, odd_images, ordinary_jpegs
from mixnet_core.data.imagenet.classes import class_names, wnids
from mixnet_core.errors import InputError, MixnetError

# Encoding takes longer than writing: the others repeat these, each with a comment of its own.
DISTINCT = 64
# Of every member, so that the same arguments give the same bytes: 2012-06-12.
MTIME = 1_339_459_200

DEVKIT = "ILSVRC2012_devkit_t12"
# Nodes above the classes: wnid, name, and the range of labels below.
_INNER = (
    ("n02084071", "dog, domestic dog, Canis familiaris", range(151, 269)),
    ("n02121808", "domestic cat, house cat, Felis domesticus, Felis catus", range(281, 286)),
)
_ROOT = ("n00001740", "entity")


@dataclass(frozen=True)
class Archives:
    """What was written.

    Attributes:
        md5sums: of the three archives, as md5sum writes it.
        val_labels: a wnid a line, in the order of the val images.
        wnids: the classes that have images, sorted.
        odd: file name in the train archive -> one of ODD.
    """

    train_tar: Path
    val_tar: Path
    devkit: Path
    md5sums: Path
    val_labels: Path
    wnids: tuple[str, ...]
    odd: Mapping[str, str]


def write_archives(
    folder: Path,
    *,
    classes: int,
    images_per_class: int,
    val_images: int,
    odd: bool = True,
    seed: int = 0,
    side: int = SIDE,
) -> Archives:
    """The archives of a part of ImageNet: the same bytes for the same arguments and packages.

    Args:
        classes: that many, spread over the catalog of 1,000.
        val_images: their classes are shuffled, and as many of each as there can be.
        odd: five train images are something else than a baseline JPEG of RGB: one of each of ODD.
        side: pixels of the usual width; smaller ones are for tests.

    Raises:
        InputError: the numbers are out of their ranges.
        MachineError: scikit-learn is not installed.
    """
    train_images = classes * images_per_class
    if not (1 <= classes <= len(wnids()) and images_per_class >= 1 and val_images >= 0):
        raise InputError(
            f"{classes} classes, {images_per_class} images of each and {val_images} val images: "
            f"expected 1 to {len(wnids()):,} classes, at least one image each, no negative number"
        )
    if odd and train_images < len(ODD):
        raise InputError(
            f"{train_images} train images can not have the {len(ODD)} odd ones among them: "
            "ask for more, or for none of those"
        )
    if not 32 <= side <= SIDE:
        raise InputError(f"side is {side} pixels: expected 32 to {SIDE}")
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    used = tuple(wnids()[i * len(wnids()) // classes] for i in range(classes))
    ids = dict(zip(wnids(), (draw.permutation(len(wnids())) + 1).tolist(), strict=True))
    bases = ordinary_jpegs(min(DISTINCT, train_images + val_images), side, draw)
    kinds = {i * train_images // len(ODD): kind for i, kind in enumerate(ODD)} if odd else {}
    of_kind = odd_images(side, draw) if odd else {}
    odd_at = {at: of_kind[kind] for at, kind in kinds.items()}
    train = _train_images(used, images_per_class, bases, odd_at, draw)
    val_classes = [used[i % classes] for i in draw.permutation(val_images)]
    val = []
    for number, wnid in enumerate(val_classes, 1):
        name = f"ILSVRC2012_val_{number:08d}"
        val.append(_Image(f"{name}.JPEG", bases[-number % len(bases)], f"{wnid} {name}"))
    made = Archives(
        train_tar=folder / "ILSVRC2012_img_train.tar",
        val_tar=folder / "ILSVRC2012_img_val.tar",
        devkit=folder / f"{DEVKIT}.tar.gz",
        md5sums=folder / "md5sums",
        val_labels=folder / "val_labels.txt",
        wnids=used,
        odd={
            train[at // images_per_class][at % images_per_class].name: kind
            for at, kind in kinds.items()
        },
    )
    with _Hashing(made.train_tar) as train_output:
        _write_train(train_output, used, train)
    with _Hashing(made.val_tar) as val_output:
        _write_tar(val_output, val)
    with _Hashing(made.devkit) as devkit_output:
        _write_devkit(devkit_output, val_classes, ids, dict.fromkeys(used, images_per_class))
    made.md5sums.write_text(
        f"{train_output.md5}  {made.train_tar.name}\n"
        f"{val_output.md5}  {made.val_tar.name}\n"
        f"{devkit_output.md5}  {made.devkit.name}\n"
    )
    made.val_labels.write_text("".join(f"{wnid}\n" for wnid in val_classes))
    return made


class _Image(NamedTuple):
    """A member; the comment makes its content differ from others of the same `base`."""

    name: str
    base: bytes
    comment: str

    def content(self) -> bytes:
        # The PNG is the only one of its base.
        if not self.base.startswith(b"\xff\xd8"):
            return self.base
        # A comment segment, FF FE, right after the start of the image, FF D8.
        text = self.comment.encode()
        return b"\xff\xd8\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + self.base[2:]


def _train_images(
    used: Sequence[str],
    images_per_class: int,
    bases: Sequence[bytes],
    odd: Mapping[int, bytes],
    draw: np.random.Generator,
) -> list[list[_Image]]:
    """Of each class; `odd` by the position among all train images."""
    found = []
    for i, wnid in enumerate(used):
        # With gaps, as in ImageNet, and in the order of the numbers, not of the names.
        numbers = np.cumsum(draw.integers(1, 16, images_per_class))
        images = []
        for k, number in enumerate(numbers):
            at = i * images_per_class + k
            name = f"{wnid}_{number}"
            images.append(_Image(f"{name}.JPEG", odd.get(at, bases[at % len(bases)]), name))
        found.append(images)
    return found


class _Hashing:
    """A file that is written from its beginning to its end, and its md5."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size = 0

    @property
    def md5(self) -> str:
        return self._digest.hexdigest()

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        self.size += len(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def __enter__(self) -> _Hashing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = size, MTIME
    return member


def _header(name: str, size: int) -> bytes:
    return _member(name, size).tobuf(tarfile.GNU_FORMAT)


def _write_tar(output: _Hashing, images: Sequence[_Image]) -> None:
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for image in images:
            content = image.content()
            tar.addfile(_member(image.name, len(content)), io.BytesIO(content))


def _tar_size(images: Sequence[_Image]) -> int:
    """Bytes of what `_write_tar` writes."""
    blocks = sum(1 + -(-len(image.content()) // tarfile.BLOCKSIZE) for image in images)
    # Two empty blocks are the end, and the whole is filled up to records.
    return -(-(blocks + 2) * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _write_train(output: _Hashing, used: Sequence[str], images: Sequence[Sequence[_Image]]) -> None:
    # A member's header has its size and comes first: with tarfile, an inner tar would have to be
    # held or written somewhere before.
    for wnid, of_class in zip(used, images, strict=True):
        output.write(_header(f"{wnid}.tar", _tar_size(of_class)))
        _write_tar(output, of_class)
    end = output.size + 2 * tarfile.BLOCKSIZE
    output.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))


def _write_devkit(
    output: _Hashing, val_classes: Sequence[str], ids: Mapping[str, int], images: Mapping[str, int]
) -> None:
    truth = "".join(f"{ids[wnid]}\n" for wnid in val_classes).encode()
    with (
        # Without a time and a name in its header.
        gzip.GzipFile("", "wb", fileobj=output, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name in (DEVKIT, f"{DEVKIT}/data"):
            folder = _member(name, 0)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name, content in (
            ("ILSVRC2012_validation_ground_truth.txt", truth),
            ("meta.mat", _meta(ids, images)),
        ):
            tar.addfile(_member(f"{DEVKIT}/data/{name}", len(content)), io.BytesIO(content))


def _meta(ids: Mapping[str, int], images: Mapping[str, int]) -> bytes:
    """meta.mat: the struct array `synsets`, a node a row, leaves in the order of their ids."""
    names = dict(zip(wnids(), class_names(), strict=True))
    rows: list[tuple[str, str, list[int], int, int]] = [
        (wnid, names[wnid], [], 0, images.get(wnid, 0)) for wnid in sorted(ids, key=ids.__getitem__)
    ]
    for wnid, name, labels in _INNER:
        rows.append((wnid, name, sorted(ids[wnids()[label]] for label in labels), 1, 0))
    first = len(ids) + 1
    rows.append((*_ROOT, list(range(first, first + len(_INNER))), 2, 0))
    fields = "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    synsets = np.zeros((len(rows), 1), dtype=[(field, object) for field in fields.split()])
    for number, (wnid, name, children, height, count) in enumerate(rows, 1):
        synsets[number - 1, 0] = (
            *(float(number), wnid, name, f"a node called {name}", float(len(children))),
            *(np.array([children], dtype=np.float64), float(height), float(count)),
        )
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": synsets})
    # The first 116 bytes are text, with the time.
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.images.imagenet_archives",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--classes", type=int, default=100, help="default: 100")
    parser.add_argument("--images", type=int, default=180, help="of each class; default: 180")
    parser.add_argument("--val", type=int, default=1000, help="val images; default: 1000")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    given = parser.parse_args()
    try:
        made = write_archives(
            given.folder,
            classes=given.classes,
            images_per_class=given.images,
            val_images=given.val,
            seed=given.seed,
        )
    except MixnetError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for file in (made.train_tar, made.val_tar, made.devkit, made.md5sums, made.val_labels):
        print(f"{file.stat().st_size:>15,}  {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
