"""Estimates of what preparing needs, against what the images are."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.data.source import dataset_room
from tests.data.samples import data, write_image, write_image_folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    return other


def size_of(images: Path) -> int:
    return sum(path.stat().st_size for path in images.rglob("*.png"))


def test_a_folder_on_another_disk_counts_with_its_images(tmp_path: Path, elsewhere: Path) -> None:
    images = write_image_folder(tmp_path / "images", {f"class{i:02d}": 2 for i in range(12)})
    counted = dataset_room(data("image_folder", images), elsewhere)
    assert counted.bytes == pytest.approx(size_of(images), rel=0.1)
    assert counted.files == 24
    in_place = data("image_folder", images, layout="in_place")
    assert dataset_room(in_place, elsewhere) == (0, 0)


def test_links_on_the_same_disk_need_nothing(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4})
    assert dataset_room(data("image_folder", images), tmp_path) == (0, 0)


def test_shards_count_with_their_images_on_the_same_disk_too(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 4, "bee": 4}, {"bee": 2})
    room = dataset_room(data("image_folder", images, layout="mindrecord"), tmp_path)
    assert room.bytes == pytest.approx(size_of(images), rel=0.1)
    assert room.files == 0


def test_listed_images_count_where_all_of_them_are_there(tmp_path: Path, elsewhere: Path) -> None:
    root = tmp_path / "images"
    paths = [f"{number}/image.png" for number in range(8)]
    for path in paths:
        write_image(root / path, path)
    (root / "train.csv").write_text("path,label\n" + "".join(f"{path},0\n" for path in paths))
    room = dataset_room(data("lists", root, layout="mindrecord"), tmp_path)
    assert room == (size_of(root), 0)
    assert dataset_room(data("lists", root), elsewhere) == (size_of(root), 8)
    (root / "3/image.png").unlink()
    assert dataset_room(data("lists", root), elsewhere) == (0, 0)


def test_of_a_long_list_some_images_are_asked_for(tmp_path: Path) -> None:
    paths = [f"{number}.png" for number in range(1200)]
    for number, path in enumerate(paths):
        (tmp_path / path).write_bytes(bytes(1000 + number % 7))
    rows = "".join(f"{path},0\n" for path in paths)
    (tmp_path / "train.csv").write_text("path,label\n" + rows)
    # One of those that are not asked for.
    (tmp_path / paths[-1]).unlink()
    room = dataset_room(data("lists", tmp_path, layout="mindrecord"), tmp_path)
    assert room.bytes == pytest.approx(1200 * 1003, rel=0.01)


def test_a_source_that_is_not_there_needs_nothing(tmp_path: Path) -> None:
    assert dataset_room(data("imagenet", tmp_path / "nowhere"), tmp_path) == (0, 0)
