"""Two releases side by side, by what was published with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import binomtest

from mixnet_core.errors import DigestMismatch
from mixnet_core.evaluate.statistics import mcnemar
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release
from mixnet_core.stages.comparison import compare
from tests.registries import make_release


@pytest.fixture
def to(tmp_path: Path) -> str:
    return (tmp_path / "r").as_uri()


def test_the_same_images_are_paired_whatever_their_order(to: str, tmp_path: Path) -> None:
    images = [f"val/a/{number}.png" for number in range(12)]
    before = make_release("a", to, tmp_path, places=[0] * 4 + [1] * 8, images=images)
    # Right where it was wrong six times, wrong once where it was right.
    now = make_release(
        "b", to, tmp_path, places=[0] * 2 + [1] * 0 + [0] * 7 + [2] * 3, images=images[::-1]
    )
    found = compare(before, now)
    assert found.pair is not None
    rights = {image: place == 0 for image, place in zip(images, [0] * 4 + [1] * 8, strict=True)}
    later = dict(zip(images[::-1], [True] * 9 + [False] * 3, strict=True))
    gained = sum(later[i] and not rights[i] for i in images)
    lost = sum(rights[i] and not later[i] for i in images)
    assert (found.pair.count, found.pair.gained, found.pair.lost) == (12, gained, lost)
    assert (gained, lost) == (8, 3)
    assert mcnemar(found.pair) == pytest.approx(binomtest(lost, gained + lost).pvalue)
    assert found.unpaired == ""


def test_images_of_which_only_one_has_a_prediction_are_left_out_and_said(
    to: str, tmp_path: Path
) -> None:
    images = [f"val/a/{number}.png" for number in range(6)]
    before = make_release("a", to, tmp_path, places=[0, 0, 0, 1], images=images[:4])
    now = make_release("b", to, tmp_path, places=[1, 0, 0, 0], images=images[2:])
    found = compare(before, now)
    assert found.pair is not None
    assert (found.pair.count, found.pair.gained, found.pair.lost) == (2, 1, 1)
    assert found.unpaired == "2 images have the same path in both"
    assert found.images == (4, 4)


def test_an_image_that_stands_twice_in_both_is_counted_twice(to: str, tmp_path: Path) -> None:
    images = ["val/a/0.png", "val/a/0.png", "val/a/1.png"]
    before = make_release("a", to, tmp_path, places=[0, 0, 1], images=images)
    now = make_release("b", to, tmp_path, places=[1, 1, 0], images=images)
    found = compare(before, now)
    assert found.pair is not None
    assert (found.pair.count, found.pair.gained, found.pair.lost) == (3, 1, 2)


def test_other_images_under_the_same_names_are_not_paired(to: str, tmp_path: Path) -> None:
    before, now = (make_release(name, to, tmp_path, val=name * 8) for name in "ab")
    found = compare(before, now)
    assert found.pair is None
    assert "other fingerprints of val" in found.unpaired


def test_releases_without_predictions_or_recipes_are_compared_by_what_they_have(
    to: str, tmp_path: Path
) -> None:
    file = tmp_path / "w.ckpt"
    file.write_bytes(b"w")
    bare = read_release(publish_release("bare", registry=to, files={"weights": file}, facts={}).uri)
    found = compare(bare, make_release("a", to, tmp_path))
    assert (found.pair, found.recipe) == (None, {})
    assert found.unpaired == "bare has no predictions image by image"


def test_recipes_are_told_apart_key_by_key(to: str, tmp_path: Path) -> None:
    first = "name: a\ntraining: {epochs: 2, seed: 1}\ninput: {mean: [0.5]}\n"
    second = "name: b\ntraining: {epochs: 3, seed: 1}\ninput: {mean: [0.4]}\nrules: 2\n"
    before = make_release("a", to, tmp_path, recipe=first)
    found = compare(before, make_release("b", to, tmp_path, recipe=second))
    assert found.recipe == {
        "training.epochs": (2, 3),
        "input.mean": ([0.5], [0.4]),
        "rules": ("not stated", 2),
    }


def test_predictions_that_are_not_what_was_published_are_refused(to: str, tmp_path: Path) -> None:
    before, now = (make_release(name, to, tmp_path) for name in "ab")
    path = tmp_path / "r" / "a" / before.files["answers"].name
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
    with pytest.raises(DigestMismatch):
        compare(before, now)
