"""Counterparts of `model.layers` on this project's CPU operators: equal parameters, names, results.

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
    """Makes the layers of a network on this project's CPU operators; see `PlainLayers`."""

    def stem_conv(self, in_channels: int, out_channels: int, stride: int) -> nn.Cell:
        """Makes a `NativeStemConv`, or the plain layer where the padding is not symmetric."""
        if self.flavour.padding == "same" and stride > 1:
            return super().stem_conv(in_channels, out_channels, stride)
        return NativeStemConv(in_channels, out_channels, stride)

    def mixed_depthwise(self, channels: int, kernels: tuple[int, ...], stride: int) -> nn.Cell:
        """Makes a `NativeMixedDepthwiseConv`."""
        return NativeMixedDepthwiseConv(channels, kernels, stride, self.flavour)

    def norm_act(
        self, channels: int, name: Activation | None, *, squeezed_next: bool = False
    ) -> list[nn.Cell]:
        """Makes a `NormAct`, which gives the planes' means to a squeeze-excite that follows."""
        norm = NormAct(channels, name, self.flavour, pooled=squeezed_next)
        return [norm] if name is None else [norm, nn.Identity()]

    def squeeze_excite(self, channels: int, squeezed: int, inner: Activation) -> nn.Cell:
        """Makes a `NativeSqueezeExcite`."""
        return NativeSqueezeExcite(channels, squeezed, activation(inner), self.flavour)


class NativeStemConv(nn.Conv2d):
    """Convolves images 3x3, padded by 1 on each side.

    Args:
        in_channels, out_channels, stride: as for `layers.conv`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, pad_mode="pad", padding=1)
        self.native = StemConv(stride, 3, out_channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.native(x, self.weight)


class NativeMixedDepthwiseConv(MixedDepthwiseConv):
    """Computes all shares of a `MixedDepthwiseConv` in one operator.

    Args:
        channels, kernels, stride, flavour: as for `MixedDepthwiseConv`.
    """

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
    """Normalises and activates: (N, C, H, W) -> y of the same shape, or (y, means) if `pooled`.

    The running statistics move as MindSpore's do: by the mean and the unbiased variance.

    Args:
        channels: C.
        name: of the activation; None: there is none.
        flavour: says epsilon and decay.
        pooled: whether the means of y's planes, (N, C, 1, 1), are given too.
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
            # y is given on only once the running statistics are set.
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
    """Scales each channel by its gate: (x, means of its planes) -> x times the gate.

    Args:
        channels, squeezed, inner, flavour: as for `SqueezeExcite`.
    """

    def __init__(self, channels: int, squeezed: int, inner: nn.Cell, flavour: Flavour) -> None:
        super().__init__(channels, squeezed, inner, flavour)
        self.scale = Scale()

    def construct(self, x_and_pooled: tuple[Tensor, Tensor]) -> Tensor:
        x, pooled = x_and_pooled
        gate = self.gate(self.conv_expand(self.act(self.conv_reduce(pooled))))
        return self.scale(x, gate)
