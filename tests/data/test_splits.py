from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.data.source import Images, Source
from mixnet_core.data.splits import cut
from mixnet_core.errors import DatasetError
from tests.data.samples import data


def no_write(position: int, target: Path) -> str:
    raise AssertionError("cutting writes nothing")


def images(counts: list[int]) -> Images:
    names = tuple(f"{number:04d}.png" for count in counts for number in range(count))
    return Images(names, np.repeat(np.arange(len(counts)), counts).astype(np.int32), no_write)


def a_source(counts: list[int], val: list[int] | None = None, sparse: bool = False) -> Source:
    classes = tuple(f"class{label}" for label in range(len(counts)))
    return Source({}, classes, images(counts), images(val) if val else None, sparse=sparse)


def positions(source: Source, **changes: Any) -> dict[str, list[int]]:
    return {part.split: part.positions for part in cut(source, data("digits", **changes))}


def per_class(source: Source, split: list[int]) -> list[int]:
    counted = Counter(source.train.labels[split].tolist())
    return [counted[label] for label in range(len(source.classes))]


def test_every_class_gives_the_same_share_exactly() -> None:
    source = a_source([100, 40, 200])
    parts = positions(source, val_share=0.25, select_share=0.2)
    assert per_class(source, parts["val"]) == [25, 10, 50]
    assert per_class(source, parts["select"]) == [15, 6, 30]
    assert per_class(source, parts["train"]) == [60, 24, 120]


def test_every_image_is_in_exactly_one_split() -> None:
    source = a_source([13, 7, 29])
    parts = positions(source)
    assert sorted(i for part in parts.values() for i in part) == list(range(49))


def test_classes_without_images_are_left_out_where_the_source_may_have_some() -> None:
    source = a_source([0, 10, 0, 20], sparse=True)
    parts = positions(source, train_limit=16, val_share=0.2, select_share=0.25)
    assert per_class(source, parts["val"]) == [0, 2, 0, 4]
    assert per_class(source, parts["select"]) == [0, 2, 0, 2]
    assert per_class(source, parts["train"]) == [0, 6, 0, 6]
    with pytest.raises(DatasetError, match="class 'class0' has 0 training images"):
        positions(a_source([0, 10, 0, 20]))


def test_a_source_with_its_own_val_keeps_all_of_it() -> None:
    source = a_source([10, 10], val=[3, 1])
    parts = cut(source, data("digits"))
    assert [len(part.positions) for part in parts] == [16, 4, 4]
    assert parts[2].images is source.val


def test_positions_are_ordered_by_label_then_name() -> None:
    source = a_source([30, 30])
    for part in positions(source).values():
        assert part == sorted(part)


def test_the_same_seed_cuts_the_same_and_another_does_not() -> None:
    source = a_source([50, 50])
    assert positions(source, split_seed=3) == positions(source, split_seed=3)
    assert positions(source, split_seed=3)["val"] != positions(source, split_seed=4)["val"]


def test_images_are_drawn_from_everywhere_not_from_the_front() -> None:
    source = a_source([200, 3])
    val = positions(source, val_share=0.5)["val"]
    assert 30 < sum(position < 100 for position in val) < 70
    two = positions(a_source([100, 100]), val_share=0.5)["val"]
    assert {i for i in two if i < 100} != {i - 100 for i in two if i >= 100}


def test_the_order_in_which_the_source_lists_images_is_irrelevant() -> None:
    source = a_source([20, 30])
    shuffle = np.random.default_rng(0).permutation(50)
    other = Source(
        {},
        source.classes,
        Images(
            tuple(source.train.names[i] for i in shuffle), source.train.labels[shuffle], no_write
        ),
        None,
    )
    parts, others = positions(source), positions(other)
    for split in parts:
        assert parts[split] == [int(shuffle[i]) for i in others[split]]


def test_val_does_not_depend_on_what_is_kept_for_training() -> None:
    source = a_source([50, 50])
    val = positions(source)["val"]
    assert positions(source, train_limit=20, select_share=0.5)["val"] == val


def test_another_image_in_one_class_leaves_the_other_classes_alone() -> None:
    before, after = positions(a_source([50, 50])), positions(a_source([50, 51]))
    for split in before:
        assert [i for i in before[split] if i < 50] == [i for i in after[split] if i < 50]


def test_the_limit_covers_train_and_select_and_is_equal_for_every_class() -> None:
    source = a_source([100, 40, 200], val=[1, 1, 1])
    parts = positions(source, train_limit=90, select_share=0.2)
    assert per_class(source, parts["train"]) == [24, 24, 24]
    assert per_class(source, parts["select"]) == [6, 6, 6]


def test_what_a_scarce_class_cannot_give_comes_from_the_others() -> None:
    source = a_source([100, 10, 200], val=[1, 1, 1])
    parts = positions(source, train_limit=111, select_share=0.1)
    kept = np.add(per_class(source, parts["train"]), per_class(source, parts["select"]))
    assert kept.tolist() == [50, 10, 51]


def test_a_limit_above_all_images_keeps_them_all() -> None:
    source = a_source([10, 20], val=[1, 1])
    assert positions(source, train_limit=1000) == positions(source, train_limit=None)


def test_the_smallest_classes_still_have_one_image_in_every_split() -> None:
    for source, least in ((a_source([3, 3]), 3), (a_source([2, 2], val=[1, 1]), 2)):
        for share in (0.001, 0.999):
            parts = positions(source, val_share=share, select_share=share)
            cut_splits = ["train", "select", "val"][:least]
            assert [per_class(source, parts[split]) for split in cut_splits] == [[1, 1]] * least


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        (a_source([9, 2]), {}, "class 'class1' has 2 training images, expected at least 3, .* val"),
        (a_source([1, 9], val=[1, 1]), {}, "class 'class0' has 1 training image, .* least 2"),
        (a_source([9, 2], sparse=True), {}, "class 'class1' has 2 training images, .* least 3"),
        (
            a_source([9, 0, 9], val=[1, 0, 1], sparse=True),
            {"train_limit": 3},
            "leaves a class 1 images, .* raise it to 4 or",
        ),
        (a_source([9, 9], val=[1, 1]), {"train_limit": 3}, "train_limit 3 .* raise it to 4 or"),
    ],
)
def test_too_few_images_are_an_error_with_numbers(
    source: Source, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        positions(source, **changes)
