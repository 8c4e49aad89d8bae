"""The work of an image, against what timm publishes of its MixNets."""

from __future__ import annotations

import pytest

from benchmarks.work import _layers, work
from mixnet_core.model.variants import VariantName


# GMACs and activations (M) of timm's model cards, at 224 px; GMACs there count BatchNorm too.
@pytest.mark.parametrize(
    ("variant", "gmacs", "activations"),
    [("s", 0.2, 6.3), ("m", 0.4, 8.2), ("l", 0.6, 10.8), ("xl", 0.9, 14.6)],
)
def test_multiply_adds_and_activations_are_those_of_timms_cards(
    variant: VariantName, gmacs: float, activations: float
) -> None:
    found = work(variant, 224)
    assert found.multiply_adds / 1e9 == pytest.approx(gmacs, abs=0.065)
    assert sum(layer.written for layer in _layers(variant, 224, 1000)) / 1e6 == pytest.approx(
        activations, abs=0.051
    )
    assert found.gflop == pytest.approx(6 * found.multiply_adds / 1e9)
