"""The layers of `layers` on this project's CPU operators: equal parameters, names and results.

An activation is part of the BatchNorm's operator before it. An identity stands where the plain
network has the activation's cell, because parameter names count the cells.
"""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, nn, ops

from mixnet_core.model.layers import (
    MixedDepthwiseConv,
    PlainLayers,
    SqueezeExcite,
    activation,
)
from mixnet_core.model.native.operators import (
    MixConv,
    NormActInference,
    NormActTraining,
    Scale,
    StemConv,
)
from mixnet_core.model.variants import Activation, Flavour


class NativeLayers(PlainLayers):
    """Makes the layers of a network for a CPU, in one flavour."""

    def stem_conv(self, in_channels: int, out_channels: int, stride: int) -> nn.Cell:
        if self.flavour.padding == "same" and stride > 1:
            return super().stem_conv(in_channels, out_channels, stride)
        return NativeStemConv(in_channels, out_channels, stride)

    def mixed_depthwise(self, channels: int, kernels: tuple[int, ...], stride: int) -> nn.Cell:
        return NativeMixedDepthwiseConv(channels, kernels, stride, self.flavour)

    def norm_act(
        self, channels: int, name: Activation | None, *, squeezed_next: bool = False
    ) -> list[nn.Cell]:
        norm = NormAct(channels, name, self.flavour, pooled=squeezed_next)
        return [norm] if name is None else [norm, nn.Identity()]

    def squeeze_excite(self, channels: int, squeezed: int, inner: Activation) -> nn.Cell:
        return NativeSqueezeExcite(channels, squeezed, activation(inner), self.flavour)


class NativeStemConv(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, pad_mode="pad", padding=1)
        self.native = StemConv(stride, 3, out_channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.native(x, self.weight)


class NativeMixedDepthwiseConv(MixedDepthwiseConv):
    def __init__(
        self, channels: int, kernels: tuple[int, ...], stride: int, flavour: Flavour
    ) -> None:
        super().__init__(channels, kernels, stride, flavour)
        self.native = MixConv(len(kernels), stride, flavour.padding)

    def construct(self, x: Tensor) -> Tensor:
        if self.parts == 1:
            return self.native(x, (self.mixed_depthwise_conv.weight,))
        weights: tuple[Tensor, ...] = ()
        for part in self.mixed_depthwise_conv:
            weights = (*weights, part.weight)
        return self.native(x, weights)


class NormAct(nn.BatchNorm2d):
    """BatchNorm and activation: (N, C, H, W) -> the same shape, and its planes' means if `pooled`.

    The running statistics move as MindSpore's do: by the mean and the unbiased variance.
    """

    def __init__(
        self, channels: int, name: Activation | None, flavour: Flavour, *, pooled: bool
    ) -> None:
        super().__init__(channels, eps=flavour.bn_eps, momentum=flavour.bn_decay)
        self.pooled = pooled
        self.decay = flavour.bn_decay
        self.train_native = NormActTraining(name or "none", flavour.bn_eps)
        self.infer_native = NormActInference(name or "none", flavour.bn_eps)

    def construct(self, x: Tensor) -> Any:
        if self.training:
            y, pooled, mean, variance = self.train_native(x, self.gamma, self.beta)
            count = x.shape[0] * x.shape[2] * x.shape[3]
            unbiased = variance * (count / max(count - 1, 1))
            y = ops.depend(y, ops.assign(self.moving_mean, self._moved(self.moving_mean, mean)))
            y = ops.depend(
                y, ops.assign(self.moving_variance, self._moved(self.moving_variance, unbiased))
            )
        else:
            y, pooled = self.infer_native(
                x, self.gamma, self.beta, self.moving_mean, self.moving_variance
            )
        return (y, pooled) if self.pooled else y

    def _moved(self, old: Tensor, new: Tensor) -> Tensor:
        return old * self.decay + ops.stop_gradient(new) * (1 - self.decay)


class NativeSqueezeExcite(SqueezeExcite):
    """(x, means of its planes) -> x times its gate."""

    def __init__(self, channels: int, squeezed: int, inner: nn.Cell, flavour: Flavour) -> None:
        super().__init__(channels, squeezed, inner, flavour)
        self.scale = Scale()

    def construct(self, x_and_pooled: tuple[Tensor, Tensor]) -> Tensor:
        x, pooled = x_and_pooled
        gate = self.gate(self.conv_expand(self.act(self.conv_reduce(pooled))))
        return self.scale(x, gate)
