"""Comparing an export's predictions with a release's: what is rounding, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from mixnet_core.exports.proof import NEAR_TIE, compare, refusal, released_predictions

IMAGES = ("a.png", "b.png", "c.png")
CLASSES = ("cat", "dog", "eel")
# The second image is a tie but for the last bits.
REFERENCE = np.array([[9, 1, 0], [4.0001, 4.0, 0], [0, 2, 8]], np.float32)
RELEASED = np.array([0, 0, 2], np.int32)


def compared(logits: np.ndarray, released: np.ndarray = RELEASED) -> tuple[object, str]:
    found = compare(logits.astype(np.float32), REFERENCE, released, IMAGES, CLASSES)
    return found, refusal(found, len(IMAGES))


def test_the_same_logits_are_the_same_network() -> None:
    found, reason = compared(REFERENCE)
    assert (found.differing, found.largest, reason) == (0, 0.0, "")


def test_a_near_tie_that_falls_the_other_way_is_counted_and_let_be() -> None:
    logits = REFERENCE.copy()
    logits[1] = [4.0, 4.0002, 0]
    found, reason = compared(logits)
    assert (found.differing, found.near_ties, found.beyond, reason) == (1, 1, (), "")
    assert found.largest == pytest.approx(2e-4, rel=1e-2)


def test_another_prediction_is_named_with_its_image() -> None:
    logits = REFERENCE.copy()
    logits[2] = [0, 8, 2]
    found, reason = compared(logits)
    (other,) = found.beyond
    assert (other.image, other.released, other.exported) == ("c.png", "eel", "dog")
    assert other.gap == pytest.approx(6)
    assert "1 of 3 images" in reason
    assert "c.png: dog instead of eel by 6" in reason


def test_the_release_s_own_predictions_decide_not_the_reference_s() -> None:
    _, reason = compared(REFERENCE, np.array([1, 0, 2], np.int32))
    assert "a.png: cat instead of dog by 8" in reason


def test_logits_that_differ_by_more_than_rounding_are_refused_though_predictions_agree() -> None:
    logits = REFERENCE.copy()
    logits[0, 2] = 0.01
    found, reason = compared(logits)
    assert found.differing == 0
    assert "logits of 1 of 3 images" in reason
    assert "the most by 0.01" in reason
    within = REFERENCE.copy()
    within[0, 2] = 9 * NEAR_TIE * 0.9
    assert compared(within)[1] == ""


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_is_no_number_is_never_rounding(odd: float) -> None:
    logits = REFERENCE.copy()
    logits[0] = odd
    assert compared(logits)[1] != ""


def test_many_that_differ_are_all_counted_and_the_first_are_named() -> None:
    count = 50
    reference = np.tile(np.array([5, 1], np.float32), (count, 1))
    found = compare(
        reference[:, ::-1],
        reference,
        np.zeros(count, np.int32),
        [f"{n}.png" for n in range(count)],
        ("a", "b"),
    )
    assert (found.differing, len(found.beyond), found.beyond[0].image) == (50, 20, "0.png")


def test_without_a_release_s_predictions_the_reference_s_count() -> None:
    assert released_predictions(None, REFERENCE).tolist() == [0, 0, 2]
