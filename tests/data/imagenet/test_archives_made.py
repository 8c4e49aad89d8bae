"""The archives that other tests and benchmarks are made from: official structure, real images."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from scipy.io import loadmat

from benchmarks.images.imagenet_archives import Archives, write_archives
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.errors import InputError

CLASSES, IMAGES, VAL, SIDE = 3, 4, 5, 100
DATA = "ILSVRC2012_devkit_t12/data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return small(tmp_path_factory.mktemp("archives"))


def small(folder: Path, seed: int = 0) -> Archives:
    return write_archives(
        folder, classes=CLASSES, images_per_class=IMAGES, val_images=VAL, seed=seed, side=SIDE
    )


def members(tar: Path | io.BytesIO) -> dict[str, bytes]:
    """Of a tar's regular files; damage raises."""
    path, file = (tar, None) if isinstance(tar, Path) else (None, tar)
    with tarfile.open(path, fileobj=file, errorlevel=2) as opened:
        found = {}
        for member in opened:
            content = opened.extractfile(member)
            if content:
                found[member.name] = content.read()
        return found


def train_images(made: Archives) -> dict[str, bytes]:
    inner = [members(io.BytesIO(content)) for content in members(made.train_tar).values()]
    return {name: content for images in inner for name, content in images.items()}


def files(made: Archives) -> list[Path]:
    return [made.train_tar, made.val_tar, made.devkit, made.md5sums, made.val_labels]


def contents(made: Archives) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in files(made)}


def test_train_is_a_tar_of_a_tar_a_class(made: Archives) -> None:
    assert made.train_tar.name == "ILSVRC2012_img_train.tar"
    inner = members(made.train_tar)
    assert list(inner) == [f"{wnid}.tar" for wnid in made.wnids]
    for wnid, content in zip(made.wnids, inner.values(), strict=True):
        images = list(members(io.BytesIO(content)))
        assert len(images) == IMAGES
        assert all(name.startswith(f"{wnid}_") and name.endswith(".JPEG") for name in images)
        # Both ends are as tar writes them: nothing is left over, nothing is missing.
        assert len(content) % tarfile.RECORDSIZE == 0
        assert content.endswith(bytes(2 * tarfile.BLOCKSIZE))
    assert made.train_tar.stat().st_size % tarfile.RECORDSIZE == 0


def test_classes_are_spread_over_the_catalog(made: Archives) -> None:
    assert made.wnids == tuple(wnids()[label] for label in (0, 333, 666))


def test_val_is_flat_and_numbered_from_one(made: Archives) -> None:
    assert made.val_tar.name == "ILSVRC2012_img_val.tar"
    assert list(members(made.val_tar)) == [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 6)]


def test_every_image_decodes_and_no_two_have_the_same_content(made: Archives) -> None:
    images = train_images(made) | members(made.val_tar)
    assert len(images) == CLASSES * IMAGES + VAL
    for content in images.values():
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    assert len({hashlib.sha256(content).digest() for content in images.values()}) == len(images)


def test_a_comment_says_which_image_it_is(made: Archives) -> None:
    for name, content in train_images(made).items():
        if made.odd.get(name) != "png":
            with Image.open(io.BytesIO(content)) as image:
                assert image.info["comment"] == name.removesuffix(".JPEG").encode()


def test_odd_images_are_what_they_are_said_to_be(made: Archives) -> None:
    assert sorted(made.odd.values()) == ["cmyk", "grey", "orientation-6", "png", "progressive"]
    for name, content in train_images(made).items():
        with Image.open(io.BytesIO(content)) as image:
            seen = [
                *(["png"] if image.format == "PNG" else []),
                *(["cmyk"] if image.mode == "CMYK" else []),
                *(["grey"] if image.mode == "L" else []),
                *(
                    f"orientation-{turn}"
                    for turn in [image.getexif().get(ExifTags.Base.Orientation)]
                    if turn
                ),
                *(["progressive"] if image.info.get("progressive") else []),
            ]
        assert seen == ([made.odd[name]] if name in made.odd else [])


def test_without_odd_ones_all_are_baseline_jpegs_of_rgb(tmp_path: Path) -> None:
    made = write_archives(
        tmp_path, classes=2, images_per_class=1, val_images=0, odd=False, side=SIDE
    )
    assert not made.odd
    for content in train_images(made).values():
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
    assert members(made.val_tar) == {}
    assert made.val_labels.read_text() == ""


def test_ground_truth_and_val_labels_name_the_same_classes(made: Archives) -> None:
    devkit = members(made.devkit)
    truth = devkit[f"{DATA}/ILSVRC2012_validation_ground_truth.txt"].decode().split()
    wnid_of = {int(row[0]): row[1] for row in synsets(devkit)}
    labels = made.val_labels.read_text().split()
    assert [wnid_of[int(number)] for number in truth] == labels
    assert sorted(Counter(labels).values()) == [1, 2, 2]
    assert set(labels) == set(made.wnids)


def test_meta_numbers_the_leaves_in_another_order_than_labels(made: Archives) -> None:
    rows = synsets(members(made.devkit))
    leaves = [row for row in rows if row[4] == 0]
    assert [int(row[0]) for row in leaves] == list(range(1, 1001))
    assert sorted(row[1] for row in leaves) == list(wnids())
    assert [row[1] for row in leaves] != list(wnids())
    assert {row[1]: int(row[7]) for row in leaves if row[7]} == dict.fromkeys(made.wnids, IMAGES)


def test_meta_has_inner_nodes_after_the_leaves(made: Archives) -> None:
    inner = [row for row in synsets(members(made.devkit)) if row[4] > 0]
    assert [int(row[0]) for row in inner] == [1001, 1002, 1003]
    assert all(row[4] == len(row[5]) and row[7] == 0 for row in inner)
    assert not {row[1] for row in inner} & set(wnids())


def synsets(devkit: dict[str, bytes]) -> list[tuple]:
    """The rows of meta.mat, fields in the devkit's order."""
    table = loadmat(io.BytesIO(devkit[f"{DATA}/meta.mat"]), squeeze_me=True)["synsets"]
    assert table.dtype.names == (
        *("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children"),
        *("wordnet_height", "num_train_images"),
    )
    return table.tolist()


def test_md5sums_are_those_of_the_three_archives(made: Archives) -> None:
    lines = made.md5sums.read_text().splitlines()
    assert lines == [
        f"{hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()}  {file.name}"
        for file in (made.train_tar, made.val_tar, made.devkit)
    ]


def test_a_seed_gives_the_same_bytes_another_one_others(made: Archives, tmp_path: Path) -> None:
    assert contents(small(tmp_path / "same")) == contents(made)
    other = contents(small(tmp_path / "other", seed=1))
    assert all(other[name] != content for name, content in contents(made).items())


def test_no_time_gets_into_the_devkit(made: Archives) -> None:
    # The test above takes less than a second, and could miss one.
    assert made.devkit.read_bytes()[4:8] == bytes(4)
    header = members(made.devkit)[f"{DATA}/meta.mat"][:116]
    assert header.rstrip() == b"MATLAB 5.0 MAT-file"


@pytest.mark.parametrize(
    ("classes", "images", "val", "side"),
    [
        (0, 4, 5, 100),
        (1001, 4, 5, 100),
        (3, 0, 5, 100),
        (3, 4, -1, 100),
        (2, 2, 5, 100),
        (3, 4, 5, 8),
    ],
)
def test_numbers_out_of_range_are_refused(
    classes: int, images: int, val: int, side: int, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"expected|ask for"):
        write_archives(
            tmp_path / "none", classes=classes, images_per_class=images, val_images=val, side=side
        )
    assert not (tmp_path / "none").exists()
