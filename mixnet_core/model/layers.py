"""The layers of a MixNet. Attribute names spell MindCV's parameter names: they are a file format.

Letters: N images, C channels, H and W rows and columns, k kernel size.
"""

from __future__ import annotations

import mindspore
from mindspore import Tensor, nn, ops
from mindspore.ops.auto_generate import ReluGrad

from mixnet_core.model.variants import Activation, Block, Flavour, split_channels


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    flavour: Flavour,
    *,
    stride: int = 1,
    group: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """Makes a convolution: (N, in_channels, H, W) -> (N, out_channels, ceil(H / s), ceil(W / s)).

    Args:
        in_channels, out_channels: how many; `group` divides both.
        kernel: rows and columns, odd.
        flavour: says the padding.
        stride: s.
        group: how many independent convolutions it consists of.
        bias: whether a constant is added per output channel.
    """
    same = flavour.padding == "same"
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        group=group,
        has_bias=bias,
        pad_mode="same" if same else "pad",
        padding=0 if same else kernel // 2,
    )


def batch_norm(channels: int, flavour: Flavour) -> nn.BatchNorm2d:
    """Makes a BatchNorm with the flavour's epsilon and decay: (N, channels, H, W) -> same shape.

    Args:
        channels: how many.
        flavour: whose conventions the weights follow.
    """
    return nn.BatchNorm2d(channels, eps=flavour.bn_eps, momentum=flavour.bn_decay)


class Swish(nn.Cell):
    """Computes x * sigmoid(x), elementwise."""

    def __init__(self) -> None:
        super().__init__()
        self.sigmoid = ops.Sigmoid()

    def construct(self, x: Tensor) -> Tensor:
        return x * self.sigmoid(x)


class Relu(nn.Cell):
    """Computes max(x, 0), elementwise, on a CPU; in training NaN stays NaN.

    MindSpore's ReLU for CPUs turns NaN into 0: a network whose weights are NaN would give the
    classifier's bias as logits, and its loss would look like guessing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.relu = ops.ReLU()
        self.maximum = ops.Maximum()
        self.slope = ReluGrad()

    def construct(self, x: Tensor) -> Tensor:
        # Not in evaluation: what is exported should hold a ReLU, and weights were checked by then.
        # The 0 comes first: given (x, 0), the same kernel returns 0 where x is NaN.
        return self.maximum(0.0, x) if self.training else self.relu(x)

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        # Maximum's own slope at 0 is a half, ReLU's is 0.
        return (self.slope(dout, out),)


def activation(name: Activation) -> nn.Cell:
    """Makes the activation of a name, elementwise, for the device that is set.

    Args:
        name: "relu" or "swish".
    """
    if name == "swish":
        return Swish()
    # Other devices' ReLU is part of their compilers' fusions.
    return Relu() if mindspore.get_context("device_target") == "CPU" else nn.ReLU()


class GroupedConv(nn.Cell):
    """Convolves 1x1, in independent parts of the channels: (N, in, H, W) -> (N, out, H, W).

    Each part has weights of its own, as released checkpoints have them. One grouped convolution
    would not do: parts differ in width where channels do not divide evenly.

    Args:
        in_channels, out_channels: how many.
        parts: how many; 1 is a plain 1x1 convolution.
        flavour: says the padding.
    """

    def __init__(self, in_channels: int, out_channels: int, parts: int, flavour: Flavour) -> None:
        super().__init__()
        self.parts = parts
        self.in_split = split_channels(in_channels, parts)
        out_split = split_channels(out_channels, parts)
        if parts == 1:
            self.grouped_conv = conv(in_channels, out_channels, 1, flavour)
        else:
            self.grouped_conv = nn.CellList(
                [conv(i, o, 1, flavour) for i, o in zip(self.in_split, out_split, strict=True)]
            )

    def construct(self, x: Tensor) -> Tensor:
        if self.parts == 1:
            return self.grouped_conv(x)
        outputs, end = [], 0
        for i in range(self.parts):
            start, end = end, end + self.in_split[i]
            outputs.append(self.grouped_conv[i](x[:, start:end]))
        return ops.concat(outputs, axis=1)


class MixedDepthwiseConv(nn.Cell):
    """Computes MixConv (section 3 of the paper): (N, C, H, W) -> (N, C, ceil(H / s), ceil(W / s)).

    Channels are cut into one share per kernel size; each share has its own depthwise convolution.
    This is the plain formulation, and the oracle of any faster one.

    Args:
        channels: C.
        kernels: kernel sizes, one per share.
        stride: s.
        flavour: says the padding.
    """

    def __init__(
        self, channels: int, kernels: tuple[int, ...], stride: int, flavour: Flavour
    ) -> None:
        super().__init__()
        self.parts = len(kernels)
        self.split = split_channels(channels, self.parts)
        if self.parts == 1:
            self.mixed_depthwise_conv = conv(
                channels, channels, kernels[0], flavour, stride=stride, group=channels
            )
        else:
            self.mixed_depthwise_conv = nn.CellList(
                [
                    conv(c, c, k, flavour, stride=stride, group=c)
                    for c, k in zip(self.split, kernels, strict=True)
                ]
            )

    def construct(self, x: Tensor) -> Tensor:
        if self.parts == 1:
            return self.mixed_depthwise_conv(x)
        outputs, end = [], 0
        for i in range(self.parts):
            start, end = end, end + self.split[i]
            outputs.append(self.mixed_depthwise_conv[i](x[:, start:end]))
        return ops.concat(outputs, axis=1)


class SqueezeExcite(nn.Cell):
    """Scales each channel by a gate computed from all channels' means: (N, C, H, W) -> same shape.

    Args:
        channels: C.
        squeezed: channels between the two 1x1 convolutions.
        inner: the activation between them.
        flavour: says the padding.
    """

    def __init__(self, channels: int, squeezed: int, inner: nn.Cell, flavour: Flavour) -> None:
        super().__init__()
        self.conv_reduce = conv(channels, squeezed, 1, flavour, bias=True)
        self.act = inner
        self.conv_expand = conv(squeezed, channels, 1, flavour, bias=True)
        self.gate = ops.Sigmoid()
        self.mean = ops.ReduceMean(keep_dims=True)

    def construct(self, x: Tensor) -> Tensor:
        gate = self.mean(x, (2, 3))
        gate = self.conv_expand(self.act(self.conv_reduce(gate)))
        return x * self.gate(gate)


class PlainLayers:
    """Makes the layers of a network on MindSpore's own operators.

    Args:
        flavour: whose conventions the weights follow.
    """

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour

    def stem_conv(self, in_channels: int, out_channels: int, stride: int) -> nn.Cell:
        """Makes the first layer, a 3x3 convolution of the images; see `conv`."""
        return conv(in_channels, out_channels, 3, self.flavour, stride=stride)

    def pointwise(self, in_channels: int, out_channels: int, parts: int = 1) -> nn.Cell:
        """Makes a 1x1 convolution in independent parts; see `GroupedConv`."""
        return GroupedConv(in_channels, out_channels, parts, self.flavour)

    def mixed_depthwise(self, channels: int, kernels: tuple[int, ...], stride: int) -> nn.Cell:
        """Makes a depthwise convolution of several kernel sizes; see `MixedDepthwiseConv`."""
        return MixedDepthwiseConv(channels, kernels, stride, self.flavour)

    def norm_act(
        self, channels: int, name: Activation | None, *, squeezed_next: bool = False
    ) -> list[nn.Cell]:
        """Makes a BatchNorm and the activation after it.

        Args:
            channels: how many.
            name: of the activation; None: there is none.
            squeezed_next: whether a squeeze-excite follows.
        """
        norm = batch_norm(channels, self.flavour)
        return [norm] if name is None else [norm, activation(name)]

    def squeeze_excite(self, channels: int, squeezed: int, inner: Activation) -> nn.Cell:
        """Makes a squeeze-excite with `inner` between its convolutions; see `SqueezeExcite`."""
        return SqueezeExcite(channels, squeezed, activation(inner), self.flavour)


class MixNetBlock(nn.Cell):
    """Computes a `Block`: (N, in_channels, H, W) -> (N, out_channels, ceil(H / s), ceil(W / s)).

    A residual block may be given what its branch is multiplied by, (N, 1, 1, 1) float32.

    Args:
        in_channels, out_channels: how many, after the variant's width multiplier.
        row: of the variant's table.
        stride: s; the row's own for its first block only.
        layers: makes the block's layers.

    Attributes:
        residual: whether the block's input is added to its branch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, row: Block, stride: int, layers: PlainLayers
    ) -> None:
        super().__init__()
        inner, flavour = in_channels * row.expansion, layers.flavour
        cells: list[nn.Cell] = []
        if row.expansion != 1:
            cells.append(layers.pointwise(in_channels, inner, row.expand_groups))
            cells += layers.norm_act(inner, row.activation)
        cells.append(layers.mixed_depthwise(inner, row.kernels, stride))
        cells += layers.norm_act(inner, row.activation, squeezed_next=row.se_ratio > 0)
        if row.se_ratio > 0:
            squeezed = flavour.squeeze_channels(in_channels, row.se_ratio)
            gate_activation = row.activation if flavour.se_activation == "block" else "relu"
            cells.append(layers.squeeze_excite(inner, squeezed, gate_activation))
        cells.append(layers.pointwise(inner, out_channels, row.project_groups))
        cells += layers.norm_act(out_channels, None)
        self.convs = nn.SequentialCell(cells)
        self.residual = stride == 1 and in_channels == out_channels

    def construct(self, x: Tensor, path: Tensor | None = None) -> Tensor:
        branch = self.convs(x)
        if path is not None:
            branch = branch * path.astype(branch.dtype)
        return x + branch if self.residual else branch
