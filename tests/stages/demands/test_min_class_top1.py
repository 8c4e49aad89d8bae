"""The worst class's own top-1, against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mixnet_core.errors import RecipeError
from mixnet_core.evaluate.counting import JUDGED, Judged
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.stages.demand import judged_demands

CLASSES = ("ant", "bee", "cow")


def rows(*counts: tuple[int, int]) -> Judged:
    """Of each class its images and how many of them are right."""
    found = np.zeros(sum(images for images, _ in counts), JUDGED)
    found["label"] = np.repeat(np.arange(len(counts)), [images for images, _ in counts])
    found["place"] = np.concatenate([np.arange(images) >= right for images, right in counts])
    return found


def lines(demanded: float, judged: Judged) -> list[tuple[bool, str]]:
    wanted = load_recipe("digits", {"acceptance.min_class_top1": demanded}).acceptance
    return [(check.ok, check.line) for check in judged_demands(wanted, judged, CLASSES)]


def test_the_worst_class_is_named_with_its_interval() -> None:
    # Wilson's interval of 60 of 100: 0.502 to 0.691.
    ((ok, line),) = lines(0.65, rows((100, 90), (100, 60), (100, 80)))
    assert ok
    assert line == (
        "top-1 of class 'bee' 60.00 % (95 % interval 50.20 to 69.06 % on 100 images) is the least, "
        "65.00 % demanded of each"
    )


def test_a_class_whose_interval_lies_below_is_refused_and_the_others_are_counted() -> None:
    ((ok, line),) = lines(0.85, rows((100, 10), (100, 60), (100, 80)))
    assert not ok
    assert "class 'ant' 10.00 %" in line
    assert line.endswith("is below the demanded 85.00 %, with 1 more")


def test_what_is_refused_is_named_and_not_a_worse_class_of_one_image() -> None:
    ((ok, line),) = lines(0.5, rows((1, 0), (1000, 100), (50, 50)))
    assert not ok
    assert line.startswith("top-1 of class 'bee' 10.00 %")
    assert line.endswith("is below the demanded 50.00 %")


def test_all_right_is_all_that_can_be_demanded() -> None:
    assert all(lines(1.0, rows((n, n), (1, 1)))[0][0] for n in range(1, 200))


def test_a_class_without_images_says_nothing() -> None:
    ((ok, line),) = lines(0.5, rows((100, 90), (0, 0), (100, 80)))
    assert ok
    assert "class 'cow' 80.00 %" in line


def test_nothing_is_judged_where_nothing_is_demanded() -> None:
    assert judged_demands(load_recipe("digits").acceptance, rows((1, 1)), CLASSES) == ()


@pytest.mark.parametrize("value", [2, -0.1, "much", True])
def test_what_is_no_share_is_refused_with_the_recipe(value: object) -> None:
    with pytest.raises(RecipeError, match="min_class_top1 must be a share"):
        load_recipe("digits", {"acceptance.min_class_top1": value})


def test_nothing_may_be_demanded_of_each() -> None:
    assert lines(0, rows((10, 0), (10, 1)))[0][0]


def test_a_class_of_one_image_is_right_or_wrong() -> None:
    ((ok, line),) = lines(0.1, rows((1, 1), (1, 1)))
    assert ok
    assert line.startswith("top-1 of class 'ant' 100.00 %")
