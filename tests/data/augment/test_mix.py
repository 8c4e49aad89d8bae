"""Mixup, cutmix and soft targets of a batch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mixnet_core.data.augment.draws import Box
from mixnet_core.data.augment.mix import MixDraw, draw_mix, mix_images, soft_targets
from mixnet_core.recipe.sections import Mix

SIZE = 12
LABELS = np.array([3, 1, 4, 1, 0], np.int32)


def mix(mixup: float, cutmix: float, probability: float = 1.0, switch: float = 0.5) -> Mix:
    return Mix(
        mixup_alpha=mixup,
        cutmix_alpha=cutmix,
        probability=probability,
        switch_probability=switch,
    )


def draws(settings: Mix, count: int = 5000, size: int = 224) -> list[MixDraw | None]:
    generator = np.random.default_rng(1)
    return [draw_mix(settings, generator, size) for _ in range(count)]


def images(count: int) -> NDArray[np.float32]:
    random = np.random.default_rng(2)
    return random.normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def test_batches_are_mixed_as_often_as_asked() -> None:
    found = draws(mix(0.2, 1.0, probability=0.3))
    assert abs(np.mean([drawn is not None for drawn in found]) - 0.3) < 0.02


@pytest.mark.parametrize(
    ("mixup", "cutmix", "share"), [(0.2, 1.0, 0.25), (0.2, 0.0, 0.0), (0.0, 1.0, 1.0)]
)
def test_cutmix_takes_its_share_where_both_are_on(
    mixup: float, cutmix: float, share: float
) -> None:
    cut = [
        drawn is not None and drawn.box is not None for drawn in draws(mix(mixup, cutmix, 1, 0.25))
    ]
    assert abs(np.mean(cut) - share) < 0.02


@pytest.mark.parametrize(("alpha", "variance"), [(0.2, 0.17857), (1.0, 0.08333), (5.0, 0.02273)])
def test_mixups_share_is_beta_distributed(alpha: float, variance: float) -> None:
    shares = [drawn.share for drawn in draws(mix(alpha, 0.0)) if drawn]
    assert abs(np.mean(shares) - 0.5) < 0.02
    assert np.var(shares) == pytest.approx(variance, rel=0.05)


def test_cutmixs_box_lies_inside_and_has_the_shares_area() -> None:
    found = [drawn for drawn in draws(mix(0.0, 1.0)) if drawn]
    for drawn in found:
        box = drawn.box
        assert box is not None
        assert 0 <= box.left <= box.left + box.width <= 224
        assert 0 <= box.top <= box.top + box.height <= 224
        assert drawn.share == pytest.approx(1 - box.width * box.height / 224**2)


def test_cutmixs_boxes_are_squares_of_uniform_area_cut_at_the_edge() -> None:
    found = [drawn for drawn in draws(mix(0.0, 1.0), size=1000) if drawn and drawn.box]
    inside = [d.box for d in found if d.box and d.box.left > 0 and d.box.top > 0]
    whole = [box for box in inside if max(box.left + box.width, box.top + box.height) < 1000]
    assert len(whole) > 500
    assert all(box.width == box.height for box in whole)
    # Of a square of area u, uniform in 0..1, remains (sqrt(u) - u / 4)^2 on average.
    assert np.mean([1 - drawn.share for drawn in found]) == pytest.approx(0.3208, abs=0.012)
    # Middles are uniform: as much is cut off on one side as on the other.
    for ends in (
        [(d.box.left == 0, d.box.left + d.box.width == 1000) for d in found if d.box],
        [(d.box.top == 0, d.box.top + d.box.height == 1000) for d in found if d.box],
    ):
        first, last = np.mean(ends, axis=0)
        assert abs(first - 1 / 3) < 0.03
        assert abs(last - 1 / 3) < 0.03


def test_mixup_adds_the_image_from_the_other_end() -> None:
    before = images(5)
    mixed = before.copy()
    mix_images(mixed, MixDraw(0.75, None))
    np.testing.assert_allclose(mixed, 0.75 * before + 0.25 * before[::-1], atol=1e-6)
    np.testing.assert_array_equal(mixed[2], before[2])


def test_cutmix_puts_the_other_ends_box_in_place() -> None:
    before = images(4)
    mixed = before.copy()
    mix_images(mixed, MixDraw(0.9, Box(left=2, top=5, width=3, height=4)))
    expected = before.copy()
    expected[:, :, 5:9, 2:5] = before[::-1][:, :, 5:9, 2:5]
    np.testing.assert_array_equal(mixed, expected)


def test_targets_are_smoothed() -> None:
    targets = soft_targets(LABELS, 5, 0.1, None)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets[0], [0.02, 0.02, 0.02, 0.92, 0.02], rtol=1e-6)
    np.testing.assert_array_equal(soft_targets(LABELS, 5, 0.0, None), np.eye(5)[LABELS])


def test_targets_are_mixed_as_the_images_are() -> None:
    targets = soft_targets(LABELS, 5, 0.1, MixDraw(0.75, None))
    # The first is 3, the last is 0.
    expected = [0.02 + 0.9 * 0.25, 0.02, 0.02, 0.02 + 0.9 * 0.75, 0.02]
    np.testing.assert_allclose(targets[0], expected, rtol=1e-6)
    # Both of one class.
    np.testing.assert_allclose(targets[2], [0.02, 0.02, 0.02, 0.02, 0.92], rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.37])
@pytest.mark.parametrize("settings", [mix(0.2, 0.0), mix(0.0, 1.0), mix(0.2, 1.0)])
def test_rows_of_targets_sum_to_one(smoothing: float, settings: Mix) -> None:
    labels = np.arange(32, dtype=np.int32)
    for drawn in draws(settings, count=30):
        sums = soft_targets(labels, 1000, smoothing, drawn).astype(np.float64).sum(1)
        np.testing.assert_allclose(sums, 1.0, atol=2e-6)
