from __future__ import annotations

import pytest

from mixnet_core.model.variants import FLAVOURS, round_channels, split_channels


@pytest.mark.parametrize(
    ("channels", "parts", "shares"), [(96, 1, (96,)), (240, 3, (80, 80, 80)), (11, 4, (5, 2, 2, 2))]
)
def test_the_first_part_takes_the_remainder(
    channels: int, parts: int, shares: tuple[int, ...]
) -> None:
    assert split_channels(channels, parts) == shares


@pytest.mark.parametrize(
    ("channels", "rounded"), [(24 * 1.3, 32), (40 * 1.3, 56), (3, 8), (12, 16), (19, 24), (88, 88)]
)
def test_widths_are_multiples_of_8_and_never_lose_more_than_a_tenth(
    channels: float, rounded: int
) -> None:
    assert round_channels(channels) == rounded


def test_flavours_round_the_squeezed_width_differently() -> None:
    widths = {name: flavour.squeeze_channels(11, 0.25) for name, flavour in FLAVOURS.items()}
    assert widths == {"mindcv": 2, "timm": 3, "tf": 2}
    assert FLAVOURS["tf"].squeeze_channels(3, 0.25) == 1
    assert FLAVOURS["mindcv"].squeeze_channels(3, 0.25) == 0
