"""Bad and odd archives through `mixnet prepare imagenet`, and what is kept through both readers."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.data.batches import evaluation_pixels, training_batches
from mixnet_core.data.imagenet.listing import has_listing, read_listing
from mixnet_core.data.index import SPLITS, Index, read_index
from mixnet_core.data.pixels import decoded, middle
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.recipe.recipe import Recipe, load_recipe
from tests.data.imagenet.bad_inputs import BAD_INPUTS, SIDE, BadInput, Kept, Refused, run
from tests.data.imagenet.tars import tar
from tests.data.samples import data

REFUSED = [bad for bad in BAD_INPUTS if isinstance(bad.happens, Refused)]
KEPT = [bad for bad in BAD_INPUTS if isinstance(bad.happens, Kept)]
TENCH = "n01440764"
# JPEG's own loss, and that of four inks.
MOST_OFF = 3.0


def named(rows: list[BadInput]) -> Any:
    return pytest.mark.parametrize("bad", rows, ids=[bad.name for bad in rows])


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@named(REFUSED)
def test_what_is_bad_ends_in_one_line_that_names_it(bad: BadInput, tmp_path: Path) -> None:
    happens = bad.happens
    assert isinstance(happens, Refused)
    before = names_in(tmp_path.parent)
    code, said = run(bad, tmp_path)
    assert code == happens.code, said
    assert said.startswith("mixnet: ")
    for words in happens.words:
        assert words.format(archives=tmp_path / "archives") in said
    assert not has_listing(tmp_path / "to")
    # Nothing went anywhere else.
    assert names_in(tmp_path.parent) == before
    assert names_in(tmp_path) <= {"archives", "to"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


@named([bad for bad in REFUSED if isinstance(bad.happens, Refused) and bad.happens.one_image])
def test_a_bad_image_may_be_left_out_and_is_reported(bad: BadInput, tmp_path: Path) -> None:
    code, said = run(bad, tmp_path, "--max-unusable=1")
    assert code == 0, said
    to = tmp_path / "to"
    assert [row.path for row in read_listing(to, "train")] == [f"train/{TENCH}/{TENCH}_1.JPEG"]
    assert names_in(to / "train" / TENCH) == {f"{TENCH}_1.JPEG"}
    left_out = json.loads((to / "report.json").read_text())["left_out"]
    assert [image["name"] for image in left_out] == [f"train/{TENCH}/{TENCH}_2.JPEG"]


def content_of(bad: BadInput, folder: Path) -> bytes:
    """The image a row is about, out of its archive."""
    folder.mkdir(exist_ok=True)
    bad.make(folder)
    with tarfile.open(folder / "train.tar") as outer:
        inner = outer.extractfile(f"{TENCH}.tar")
        assert inner
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as images:
            image = images.extractfile(f"{TENCH}_2.JPEG")
            assert image
            return image.read()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """All that is kept, unpacked from one archive in the order of KEPT."""
    folder = tmp_path_factory.mktemp("kept")
    contents = [content_of(bad, folder / "one") for bad in KEPT]

    def all_of_them(archives: Path) -> list[str]:
        inner = tar((f"{TENCH}_{i:02d}.JPEG", content) for i, content in enumerate(contents))
        (archives / "train.tar").write_bytes(tar([(f"{TENCH}.tar", inner)]))
        return [f"--train-tar={archives / 'train.tar'}", "--subset"]

    code, said = run(BadInput("all", all_of_them, KEPT[0].happens), folder)
    assert code == 0, said
    return folder / "to", contents


@pytest.fixture(scope="module")
def index(kept: tuple[Path, list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> Index:
    # Preparing takes a part of them away as val and select, which are read here too.
    settings = data("imagenet", kept[0], subset=True, layout="in_place", val_share=0.1)
    settings = settings.model_copy(update={"select_share": 0.1})
    prepared = prepare_dataset(settings, tmp_path_factory.mktemp("datasets"))
    parts = [read_index(Path(prepared.root), split) for split in SPLITS]
    paths = tuple(sorted(path for part in parts for path in part.paths))
    return Index(parts[0].root, paths, np.zeros(len(paths), np.int32))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """The whole image, of SIDE pixels, a batch of all of them."""
    return load_recipe(
        "digits",
        {
            "network.in_channels": 3,
            "input.image_size": SIDE,
            "input.crop_pct": 1.0,
            "input.mean": [0.0, 0.0, 0.0],
            "input.std": [1.0, 1.0, 1.0],
            "training.global_batch": len(KEPT),
            "augment.crop_scale": [1.0, 1.0],
            "augment.crop_ratio": [1.0, 1.0],
            "augment.hflip": 0.0,
            "devices.ranks": 1,
        },
    )


def off(actual: Any, bad: BadInput) -> float:
    """Mean difference from what is to be seen, grey levels."""
    assert isinstance(bad.happens, Kept)
    assert actual.shape == (SIDE, SIDE, 3)
    return float(np.abs(actual.astype(float) - bad.happens.seen).mean())


def test_what_is_odd_is_kept_byte_for_byte_with_notes(kept: tuple[Path, list[bytes]]) -> None:
    root, contents = kept
    rows = read_listing(root, "train")
    assert [(root / row.path).read_bytes() for row in rows] == contents
    assert {bad.name: row.notes for bad, row in zip(KEPT, rows, strict=True)} == {
        bad.name: bad.happens.notes for bad in KEPT if isinstance(bad.happens, Kept)
    }
    assert {(row.width, row.height) for row in rows} == {(SIDE, SIDE), (1, 1), (20_000, SIDE)}


def test_evaluation_sees_what_is_on_the_odd_images(index: Index, recipe: Recipe) -> None:
    (batch,) = evaluation_pixels(index, index.positions, recipe, batch=len(KEPT), threads=2)
    assert batch.images.dtype == np.uint8
    for bad, image, path in zip(KEPT, batch.images, index.paths, strict=True):
        assert off(image, bad) < MOST_OFF, bad.name
        content = (index.root / path).read_bytes()
        np.testing.assert_array_equal(
            image, middle(decoded(content), recipe.input, short_side=recipe.short_side)
        )


def test_training_sees_what_is_on_the_odd_images(index: Index, recipe: Recipe) -> None:
    (batch,) = training_batches(index, recipe, classes=1000, epoch=0, rank=0, threads=2)
    assert sorted(batch.positions) == list(range(len(KEPT)))
    assert batch.unreadable == ()
    for position, image in zip(batch.positions, batch.images, strict=True):
        # Normalised with 0 and 1, so these are grey levels or shares of 255.
        assert off(image.transpose(1, 2, 0), KEPT[position]) < MOST_OFF, KEPT[position].name


@pytest.mark.parametrize("seed", range(3))
def test_crops_of_the_odd_images_are_no_error(index: Index, recipe: Recipe, seed: int) -> None:
    augment = recipe.augment.model_copy(
        update={"crop_scale": (0.08, 1.0), "crop_ratio": (0.75, 1.333)}
    )
    cropped = recipe.model_copy(update={"augment": augment})
    (batch,) = training_batches(index, cropped, classes=1000, epoch=seed, rank=0, threads=2)
    assert batch.unreadable == ()
    assert np.isfinite(batch.images).all()
