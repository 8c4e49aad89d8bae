"""MixNet as a MindSpore cell, and `build_model`, the one way to make it."""

from __future__ import annotations

import math

from mindspore import Tensor, nn, ops
from mindspore.common import initializer as init

from mixnet_core.errors import InputError
from mixnet_core.model.layers import MixNetBlock, PlainLayers
from mixnet_core.model.native.choice import Operators
from mixnet_core.model.variants import (
    FLAVOURS,
    VARIANTS,
    Flavour,
    FlavourName,
    Variant,
    VariantName,
    round_channels,
)


class MixNet(nn.Cell):
    """Computes logits of images: (N, in_channels, H, W) float32 -> (N, num_classes) float32.

    H and W may be anything from 1 up; the planes shrink 32-fold with the default stem.

    What is random in training comes from the caller, so that a resumed run can have it again:
    MindSpore's own random operators keep a state that cannot be saved.

    features    dropout, (N, head_channels) float32: what the classifier's input is multiplied by
    paths       stochastic depth, (N, len(residual_depths)) float32: what the branches of the
                residual blocks are multiplied by, in their order

    Args:
        variant: the row of the paper.
        make: makes the layers.
        num_classes: width of the classifier.
        in_channels: of the images.
        stem_stride: of the first layer, 1 or 2.

    Attributes:
        residual_depths: for each residual block, its index over the number of blocks, in 0..1.
    """

    def __init__(
        self,
        variant: Variant,
        make: PlainLayers,
        num_classes: int,
        in_channels: int,
        stem_stride: int,
    ) -> None:
        super().__init__()
        scaled = [round_channels(variant.stem_channels * variant.width)]
        self.stem_conv = nn.SequentialCell(
            make.stem_conv(in_channels, scaled[0], stem_stride), *make.norm_act(scaled[0], "relu")
        )
        layers, channels = [], scaled[0]
        for row in variant.blocks:
            out = round_channels(row.out_channels * variant.width)
            for repeat in range(row.repeats):
                stride = row.stride if repeat == 0 else 1
                layers.append(MixNetBlock(channels, out, row, stride, make))
                channels = out
        self.layers = nn.SequentialCell(layers)
        residual = [index for index, layer in enumerate(layers) if layer.residual]
        self.residual_depths = tuple(index / len(layers) for index in residual)
        # Column of `paths` for each layer; -1: it has none.
        self.columns = tuple(
            residual.index(index) if index in residual else -1 for index in range(len(layers))
        )
        self.head_conv = nn.SequentialCell(
            make.pointwise(channels, variant.head_channels).grouped_conv,
            *make.norm_act(variant.head_channels, "relu"),
        )
        # ReduceMean, not AdaptiveAvgPool2d: the latter has no ONNX export.
        self.pool = ops.ReduceMean(keep_dims=False)
        self.classifier = nn.Dense(variant.head_channels, num_classes)
        _initialise(self, make.flavour)

    def construct(
        self, x: Tensor, features: Tensor | None = None, paths: Tensor | None = None
    ) -> Tensor:
        x = self.pooled(x, paths)
        if features is not None:
            x = x * features.astype(x.dtype)
        return self.classifier(x)

    def pooled(self, x: Tensor, paths: Tensor | None = None) -> Tensor:
        """Computes the features before dropout and classifier: (N, head_channels) float32."""
        x = self.stem_conv(x)
        if paths is None:
            x = self.layers(x)
        else:
            paths = ops.reshape(paths, (*paths.shape, 1, 1, 1))
            for index, layer in enumerate(self.layers):
                column = self.columns[index]
                x = layer(x) if column < 0 else layer(x, paths[:, column])
        return self.pool(self.head_conv(x), (2, 3))


class WithFeatures(nn.Cell):
    """Computes logits and the features that they are of, from the images.

    (N, in_channels, H, W) float32 -> (N, num_classes) and (N, head_channels) float32.
    """

    def __init__(self, net: MixNet) -> None:
        # The network's parameters keep their names.
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.pooled(x)
        return self.net.classifier(features), features


def _initialise(net: nn.Cell, flavour: Flavour) -> None:
    """Draws the initial weights.

    Those of convolutions are He-normal by fan-out, the classifier's uniform in
    +-1 / sqrt(num_classes); biases are 0.
    """
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            fan_out = cell.kernel_size[0] * cell.kernel_size[1] * cell.out_channels
            if cell.group > 1 and flavour.depthwise_fan_out == "kernel":
                fan_out //= cell.group
            _set(cell.weight, init.Normal(math.sqrt(2.0 / fan_out)))
            if cell.has_bias:
                _set(cell.bias, init.Zero())
        elif isinstance(cell, nn.Dense):
            _set(cell.weight, init.Uniform(1.0 / math.sqrt(cell.weight.shape[0])))
            _set(cell.bias, init.Zero())


def _set(parameter: Tensor, how: init.Initializer) -> None:
    parameter.set_data(init.initializer(how, parameter.shape, parameter.dtype))


def build_model(
    variant: VariantName,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    flavour: FlavourName = "mindcv",
    stem_stride: int = 2,
    operators: Operators = "plain",
) -> MixNet:
    """Builds a freshly initialised MixNet; seed MindSpore before for a reproducible one.

    Args:
        variant: "s", "m", "l" or "xl"; learnable parameters with 1000 classes: 4,134,606,
            5,014,382, 7,329,252 and 11,896,768.
        num_classes: width of the classifier, at least 1.
        in_channels: of the image, at least 1.
        flavour: whose conventions the weights follow (`variants.Flavour`).
        stem_stride: 2 as published; 1 keeps twice the resolution for small images.
        operators: "plain" for MindSpore's, "native" for this project's on a CPU. Parameters and
            results are the same; only the plain network can be exported.

    Raises:
        InputError: an argument names no variant or flavour, or is out of range.
        MachineError: native operators are asked for, and cannot be compiled here.
    """
    if variant not in VARIANTS:
        raise InputError(
            f"unknown MixNet variant {variant!r}: expected one of {', '.join(VARIANTS)}"
        )
    if flavour not in FLAVOURS:
        raise InputError(f"unknown flavour {flavour!r}: expected one of {', '.join(FLAVOURS)}")
    if num_classes < 1 or in_channels < 1:
        raise InputError(
            f"num_classes and in_channels must be at least 1, got {num_classes} and {in_channels}"
        )
    make = _layers(operators, FLAVOURS[flavour])
    return MixNet(VARIANTS[variant], make, num_classes, in_channels, stem_stride)


def _layers(operators: Operators, flavour: Flavour) -> PlainLayers:
    if operators == "plain":
        return PlainLayers(flavour)
    # Imported only here: other devices' machines need not be able to load it.
    from mixnet_core.model.native_layers import NativeLayers

    return NativeLayers(flavour)
