"""MixNet in plain PyTorch, in MindCV's flavour, from the rows of `mixnet_core.model.variants`.

Modules are named as the MindSpore network's, so a state is that network's parameters renamed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mixnet_core.model.variants import (
    FLAVOURS,
    VARIANTS,
    Activation,
    Block,
    Variant,
    VariantName,
    round_channels,
    split_channels,
)

FLAVOUR = FLAVOURS["mindcv"]
# MindSpore's names of a BatchNorm's parameters, and PyTorch's.
RENAMED = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def torch_name(name: str) -> str:
    module, _, kind = name.rpartition(".")
    return f"{module}.{RENAMED.get(kind, kind)}"


def load_values(net: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Parameters by MindSpore's names; RuntimeError if one is missing, unknown or misshapen."""
    renamed = {torch_name(name): value for name, value in values.items()}
    # Counts batches; MindSpore has no such thing and inference does not read it.
    counters = {key: value for key, value in net.state_dict().items() if "num_batches" in key}
    net.load_state_dict(renamed | counters)


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
    )


def norm(channels: int) -> nn.BatchNorm2d:
    # PyTorch's momentum is the new statistic's share, MindSpore's the old one's.
    return nn.BatchNorm2d(channels, eps=FLAVOUR.bn_eps, momentum=1 - FLAVOUR.bn_decay)


def activation(name: Activation) -> nn.Module:
    return nn.SiLU(inplace=True) if name == "swish" else nn.ReLU(inplace=True)


class Parts(nn.Module):
    """Convolutions of equal shares of the channels, side by side; the attribute is `attribute`."""

    def __init__(self, attribute: str, convolutions: list[nn.Conv2d]) -> None:
        super().__init__()
        alone = len(convolutions) == 1
        self.add_module(attribute, convolutions[0] if alone else nn.ModuleList(convolutions))
        self.convolutions = tuple(getattr(self, attribute)) if not alone else (convolutions[0],)
        self.split = [part.in_channels for part in self.convolutions]

    def forward(self, x: Tensor) -> Tensor:
        if len(self.split) == 1:
            return self.convolutions[0](x)
        shares = torch.split(x, self.split, 1)
        return torch.cat(
            [part(share) for part, share in zip(self.convolutions, shares, strict=True)], 1
        )


def pointwise(in_channels: int, out_channels: int, parts: int) -> Parts:
    widths = zip(
        split_channels(in_channels, parts), split_channels(out_channels, parts), strict=True
    )
    return Parts("grouped_conv", [conv(i, o, 1) for i, o in widths])


def depthwise(channels: int, kernels: tuple[int, ...], stride: int) -> Parts:
    shares = split_channels(channels, len(kernels))
    convolutions = [conv(c, c, k, stride, c) for c, k in zip(shares, kernels, strict=True)]
    return Parts("mixed_depthwise_conv", convolutions)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv_reduce(x.mean((2, 3), keepdim=True)).relu()
        return x * self.conv_expand(gate).sigmoid()


class MixNetBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, row: Block, stride: int) -> None:
        super().__init__()
        inner = in_channels * row.expansion
        modules: list[nn.Module] = []
        if row.expansion != 1:
            modules.append(pointwise(in_channels, inner, row.expand_groups))
            modules += [norm(inner), activation(row.activation)]
        modules.append(depthwise(inner, row.kernels, stride))
        modules += [norm(inner), activation(row.activation)]
        if row.se_ratio > 0:
            modules.append(
                SqueezeExcite(inner, FLAVOUR.squeeze_channels(in_channels, row.se_ratio))
            )
        modules += [pointwise(inner, out_channels, row.project_groups), norm(out_channels)]
        self.convs = nn.Sequential(*modules)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x) if self.residual else self.convs(x)


class TorchMixNet(nn.Module):
    """(N, 3, H, W) float32 -> logits (N, num_classes); stem stride 2, dropout 0.2."""

    def __init__(self, variant: Variant, num_classes: int = 1000) -> None:
        super().__init__()
        channels = round_channels(variant.stem_channels * variant.width)
        self.stem_conv = nn.Sequential(conv(3, channels, 3, 2), norm(channels), activation("relu"))
        blocks = []
        for row in variant.blocks:
            out = round_channels(row.out_channels * variant.width)
            for repeat in range(row.repeats):
                stride = row.stride if repeat == 0 else 1
                blocks.append(MixNetBlock(channels, out, row, stride))
                channels = out
        self.layers = nn.Sequential(*blocks)
        head = variant.head_channels
        self.head_conv = nn.Sequential(conv(channels, head, 1), norm(head), activation("relu"))
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head_conv(self.layers(self.stem_conv(x)))
        return self.classifier(self.dropout(x.mean((2, 3))))


def build(variant: VariantName) -> TorchMixNet:
    return TorchMixNet(VARIANTS[variant])
