"""The four published MixNets as rows of data, and the dialects in which their weights exist.

Source of the tables: "MixConv: Mixed Depthwise Convolutional Kernels", Tan and Le, 2019,
arXiv:1907.09595, as in its reference code; MindCV and timm use the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VariantName = Literal["s", "m", "l", "xl"]
FlavourName = Literal["mindcv", "timm", "tf"]
Activation = Literal["relu", "swish"]


@dataclass(frozen=True)
class Block:
    """Describes an inverted-residual block.

    Its layers are: expand 1x1 -> mixed depthwise -> squeeze-excite -> project 1x1.

    Attributes:
        out_channels: channels after the projection, before the variant's width multiplier.
        kernels: depthwise kernel sizes; each works on an equal share of the channels, the
            remainder going to the first.
        expand_groups, project_groups: into how many independent parts the 1x1 convolution is cut.
        stride: of the depthwise convolution, 1 or 2.
        expansion: inner channels = block input channels x expansion; 1 means no expand convolution.
        activation: after expand and depthwise.
        se_ratio: squeeze-excite width as a share of the block's *input* channels; 0 means none.
        repeats: how often the row stands; from the second on stride is 1 and input = output width.
    """

    out_channels: int
    kernels: tuple[int, ...]
    expand_groups: int
    project_groups: int
    stride: int
    expansion: int
    activation: Activation
    se_ratio: float
    repeats: int = 1


@dataclass(frozen=True)
class Variant:
    """Describes a network of the paper.

    Attributes:
        stem_channels: of the first layer, before the width multiplier.
        blocks: the rows of its table, in order.
        width: what the channels of stem and blocks are multiplied by.
        head_channels: of the last convolution, whatever the width.
    """

    stem_channels: int
    blocks: tuple[Block, ...]
    width: float = 1.0
    head_channels: int = 1536


_K35, _K357, _K3579, _K3to11 = (3, 5), (3, 5, 7), (3, 5, 7, 9), (3, 5, 7, 9, 11)

_SMALL = (
    #     out  kernels  eg pg st ex  act      se   repeats
    Block(16, (3,), 1, 1, 1, 1, "relu", 0.0),
    Block(24, (3,), 2, 2, 2, 6, "relu", 0.0),
    Block(24, (3,), 2, 2, 1, 3, "relu", 0.0),
    Block(40, _K357, 1, 1, 2, 6, "swish", 0.5),
    Block(40, _K35, 2, 2, 1, 6, "swish", 0.5, 3),
    Block(80, _K357, 1, 2, 2, 6, "swish", 0.25),
    Block(80, _K35, 1, 2, 1, 6, "swish", 0.25, 2),
    Block(120, _K357, 2, 2, 1, 6, "swish", 0.5),
    Block(120, _K3579, 2, 2, 1, 3, "swish", 0.5, 2),
    Block(200, _K3to11, 1, 1, 2, 6, "swish", 0.5),
    Block(200, _K3579, 1, 2, 1, 6, "swish", 0.5, 2),
)


def _medium(r3: int, r4: int) -> tuple[Block, ...]:
    """Returns the table that m, l and xl share; the arguments are the repeats that deepen xl."""
    return (
        Block(24, (3,), 1, 1, 1, 1, "relu", 0.0),
        Block(32, _K357, 2, 2, 2, 6, "relu", 0.0),
        Block(32, (3,), 2, 2, 1, 3, "relu", 0.0),
        Block(40, _K3579, 1, 1, 2, 6, "swish", 0.5),
        Block(40, _K35, 2, 2, 1, 6, "swish", 0.5, r3),
        Block(80, _K357, 1, 1, 2, 6, "swish", 0.25),
        Block(80, _K3579, 2, 2, 1, 6, "swish", 0.25, r3),
        Block(120, (3,), 1, 1, 1, 6, "swish", 0.5),
        Block(120, _K3579, 2, 2, 1, 3, "swish", 0.5, r3),
        Block(200, _K3579, 1, 1, 2, 6, "swish", 0.5),
        Block(200, _K3579, 1, 2, 1, 6, "swish", 0.5, r4),
    )


VARIANTS: dict[VariantName, Variant] = {
    "s": Variant(16, _SMALL),
    "m": Variant(24, _medium(3, 3)),
    "l": Variant(24, _medium(3, 3), width=1.3),
    # timm's mixnet_xl, which the paper does not have: width 1.6 and depth 1.2 over m, where the
    # repeats of rows with equal output channels are rounded together.
    "xl": Variant(24, _medium(4, 4), width=1.6),
}


@dataclass(frozen=True)
class Flavour:
    """Says how an implementation fills in what the paper leaves open; weights fit their own only.

    Attributes:
        se_activation: "relu", or "block": the activation of the block it stands in.
        se_width: how `input channels x se_ratio` becomes a whole number.
        padding: "symmetric": k // 2 on each side; "same": TensorFlow's SAME, which pads stride-2
            convolutions one pixel more at the bottom right.
        bn_eps: added to the variance, dimensionless.
        bn_decay: share of the old running statistic that is kept, MindSpore's `momentum`.
        depthwise_fan_out: "kernel" counts k*k; "kernel_x_channels" counts k*k*C as MindCV's
            initialisation does, which makes depthwise weights sqrt(C) smaller.
    """

    se_activation: Literal["relu", "block"]
    se_width: Literal["floor", "floor_min_1", "round"]
    padding: Literal["symmetric", "same"]
    bn_eps: float
    bn_decay: float
    depthwise_fan_out: Literal["kernel", "kernel_x_channels"]

    def squeeze_channels(self, in_channels: int, se_ratio: float) -> int:
        """Computes the width of squeeze-excite's bottleneck.

        Args:
            in_channels: of the block.
            se_ratio: the row's.
        """
        width = in_channels * se_ratio
        if self.se_width == "round":
            return round(width)
        return max(1, int(width)) if self.se_width == "floor_min_1" else int(width)


FLAVOURS: dict[FlavourName, Flavour] = {
    "mindcv": Flavour("relu", "floor", "symmetric", 1e-5, 0.9, "kernel_x_channels"),
    "timm": Flavour("block", "round", "symmetric", 1e-5, 0.9, "kernel"),
    "tf": Flavour("block", "floor_min_1", "same", 1e-3, 0.99, "kernel"),
}


def round_channels(channels: float, divisor: int = 8) -> int:
    """Rounds to the nearest multiple of `divisor`, at least `divisor` and 90 % of `channels`.

    Args:
        channels: after the width multiplier.
        divisor: as in MobileNet, 8.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def split_channels(channels: int, parts: int) -> tuple[int, ...]:
    """Cuts channels into equal shares, and adds the remainder to the first.

    Args:
        channels: how many.
        parts: how many shares.
    """
    share = channels // parts
    return (channels - share * (parts - 1), *([share] * (parts - 1)))
