"""The work of an image, against what timm publishes of its MixNets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.work import Layer, _layers, work
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


def test_a_layers_traffic_is_each_tensor_as_often_as_it_is_read_and_written() -> None:
    convolution = Layer(multiply_adds=1, read=3, written=5, normed=False)
    # Input and output forward, both gradients for the input's, input and gradient for the weights'.
    assert convolution.elements_moved == (3 + 5) + (5 + 3) + (3 + 5)
    normed, gated, summed = (
        replace(convolution, **{name: True}).elements_moved - convolution.elements_moved
        for name in ("normed", "gated", "summed")
    )
    # Statistics read it; then it is read and written. Back, two tensors are read twice, one is
    # written.
    assert normed == (1 + 2 + 2 + 2 + 1) * 5
    # The mean reads it; then it is read and written. Back, gradient and output are read for the
    # gate's, the gradient is read and written.
    assert gated == (1 + 2 + 2 + 2 + 1) * 5
    # Two are read and one is written, forward and back.
    assert summed == 2 * 3 * 5
