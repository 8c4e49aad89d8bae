"""What an image of a MixNet costs in training: multiply-adds, and bytes of activations.

Counted from the table of the network, not measured. Activations are counted as operators read and
write them that each keep to one layer (convolution, BatchNorm with its activation, squeeze-excite,
sum); what is fused moves less, what does not fit caches moves more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mixnet_core.model.variants import (
    FLAVOURS,
    VARIANTS,
    VariantName,
    round_channels,
    split_channels,
)

_BYTES = 4


@dataclass(frozen=True)
class Layer:
    """A convolution and what follows it.

    Attributes:
        multiply_adds: of the convolution, for one image.
        read, written: its elements of input and output, for one image.
        normed: whether BatchNorm and an activation follow.
        gated: whether squeeze-excite follows these.
        summed: whether the block's input is added.
    """

    multiply_adds: int
    read: int
    written: int
    normed: bool = True
    gated: bool = False
    summed: bool = False

    @property
    def elements_moved(self) -> int:
        """Of activations and their gradients in a training step, read and written."""
        # Forward; gradient to the input; gradient to the weights.
        moved = 3 * (self.read + self.written)
        out = self.written
        # BatchNorm forward: statistics, then read and write; backward: two tensors are summed up,
        # then both are read and one is written.
        moved += 8 * out if self.normed else 0
        # Squeeze-excite: mean, then read and write; backward the product's sum, and its factor.
        moved += 8 * out if self.gated else 0
        # The gradient of a sum goes on as it is, and is added to that of the block's input.
        moved += 6 * out if self.summed else 0
        return moved


@dataclass(frozen=True)
class Work:
    """Of one image.

    Attributes:
        multiply_adds: of a forward pass.
        gflop: of a training step: each multiply-add is two operations, forward, for the gradient to
            the input and for that to the weights.
        gigabytes: of activations read and written in a training step, float32.
    """

    multiply_adds: int
    gflop: float
    gigabytes: float


def work(variant: VariantName, image_size: int, *, classes: int = 1000) -> Work:
    """Counts the work of an image of `image_size` pixels with stem stride 2."""
    layers = list(_layers(variant, image_size, classes))
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    return Work(
        multiply_adds=multiply_adds,
        gflop=6 * multiply_adds / 1e9,
        gigabytes=_BYTES * sum(layer.elements_moved for layer in layers) / 1e9,
    )


def _layers(variant: VariantName, size: int, classes: int) -> Iterator[Layer]:
    table, flavour = VARIANTS[variant], FLAVOURS["mindcv"]
    channels, plane = round_channels(table.stem_channels * table.width), -(-size // 2)
    yield Layer(3 * channels * 9 * plane**2, 3 * size**2, channels * plane**2)
    for row in table.blocks:
        out = round_channels(row.out_channels * table.width)
        for repeat in range(row.repeats):
            stride = row.stride if repeat == 0 else 1
            inner, pixels = channels * row.expansion, plane**2
            if row.expansion != 1:
                products = _products(channels, inner, row.expand_groups)
                yield Layer(products * pixels, channels * pixels, inner * pixels)
            plane = -(-plane // stride)
            shares = split_channels(inner, len(row.kernels))
            taps = sum(share * k * k for share, k in zip(shares, row.kernels, strict=True))
            gated = row.se_ratio > 0
            yield Layer(taps * plane**2, inner * pixels, inner * plane**2, gated=gated)
            if gated:
                squeezed = flavour.squeeze_channels(channels, row.se_ratio)
                yield Layer(2 * inner * squeezed, inner, inner, normed=False)
            yield Layer(
                _products(inner, out, row.project_groups) * plane**2,
                inner * plane**2,
                out * plane**2,
                summed=stride == 1 and channels == out,
            )
            channels = out
    head = table.head_channels
    yield Layer(channels * head * plane**2, channels * plane**2, head * plane**2)
    yield Layer(head * classes, head, classes, normed=False)


def _products(channels: int, out: int, groups: int) -> int:
    """Weights of a 1x1 convolution in so many parts."""
    parts = zip(split_channels(channels, groups), split_channels(out, groups), strict=True)
    return sum(i * o for i, o in parts)
