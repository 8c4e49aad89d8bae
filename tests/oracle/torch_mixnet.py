"""MixNet as its paper and MindCV describe it, as functions of named tensors.

Imports nothing of this project, so that no mistake of its can be made here too. The blocks stand in
the notation of the reference code of arXiv:1907.09595 (tensorflow/tpu, mnasnet/mixnet):

    r repeats, k depthwise kernel sizes, a and p the parts of expand and project convolution ("1"
    one, "1.1" two), s strides, e expansion, i and o channels, se squeeze-and-excite's share of i,
    sw swish instead of ReLU

What the paper leaves open is as in MindCV (mindcv/models/mixnet.py): k // 2 pixels of padding on
each side, squeeze-and-excite i * se channels wide, rounded down, with a ReLU inside, BatchNorm with
epsilon 1e-5. Names are those of MindCV's checkpoints, which count the cells of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

SMALL = """
    r1_k3_a1_p1_s11_e1_i16_o16
    r1_k3_a1.1_p1.1_s22_e6_i16_o24
    r1_k3_a1.1_p1.1_s11_e3_i24_o24
    r1_k3.5.7_a1_p1_s22_e6_i24_o40_se0.5_sw
    r3_k3.5_a1.1_p1.1_s11_e6_i40_o40_se0.5_sw
    r1_k3.5.7_a1_p1.1_s22_e6_i40_o80_se0.25_sw
    r2_k3.5_a1_p1.1_s11_e6_i80_o80_se0.25_sw
    r1_k3.5.7_a1.1_p1.1_s11_e6_i80_o120_se0.5_sw
    r2_k3.5.7.9_a1.1_p1.1_s11_e3_i120_o120_se0.5_sw
    r1_k3.5.7.9.11_a1_p1_s22_e6_i120_o200_se0.5_sw
    r2_k3.5.7.9_a1_p1.1_s11_e6_i200_o200_se0.5_sw
"""
MEDIUM = """
    r1_k3_a1_p1_s11_e1_i24_o24
    r1_k3.5.7_a1.1_p1.1_s22_e6_i24_o32
    r1_k3_a1.1_p1.1_s11_e3_i32_o32
    r1_k3.5.7.9_a1_p1_s22_e6_i32_o40_se0.5_sw
    r3_k3.5_a1.1_p1.1_s11_e6_i40_o40_se0.5_sw
    r1_k3.5.7_a1_p1_s22_e6_i40_o80_se0.25_sw
    r3_k3.5.7.9_a1.1_p1.1_s11_e6_i80_o80_se0.25_sw
    r1_k3_a1_p1_s11_e6_i80_o120_se0.5_sw
    r3_k3.5.7.9_a1.1_p1.1_s11_e3_i120_o120_se0.5_sw
    r1_k3.5.7.9_a1_p1_s22_e6_i120_o200_se0.5_sw
    r3_k3.5.7.9_a1_p1.1_s11_e6_i200_o200_se0.5_sw
"""
# Blocks, and what their channels are multiplied by.
VARIANTS = {"s": (SMALL, 1.0), "m": (MEDIUM, 1.0), "l": (MEDIUM, 1.3)}

# (name of the layer, x) -> y
Norm = Callable[[str, Tensor], Tensor]


def logits(variant: str, values: dict[str, Tensor], images: Tensor, norm: Norm) -> Tensor:
    """Computes (N, 3, H, W) -> (N, classes) in training, nothing dropped.

    Args:
        values: every parameter and statistic, by MindCV's name.
        norm: a BatchNorm.
    """
    x = torch.conv2d(images, values["stem_conv.0.weight"], stride=2, padding=1)
    x = norm("stem_conv.1", x).relu()
    for number, row in enumerate(_blocks(variant)):
        x = _block(values, f"layers.{number}.convs", row, x, norm)
    x = torch.conv2d(x, values["head_conv.0.weight"])
    x = norm("head_conv.1", x).relu()
    return x.mean((2, 3)) @ values["classifier.weight"].T + values["classifier.bias"]


def _blocks(variant: str) -> Iterator[dict[str, str]]:
    """Yields each block's letters; what repeats follows with stride 1 and its output's width."""
    text, width = VARIANTS[variant]
    for line in text.split():
        row = {word.rstrip("0123456789."): word.lstrip("rkapseiow") for word in line.split("_")}
        row["i"], row["o"] = (str(_rounded(int(row[key]) * width)) for key in "io")
        yield row
        for _ in range(int(row["r"]) - 1):
            yield row | {"s": "11", "i": row["o"]}


def _rounded(channels: float) -> int:
    """Returns the nearest multiple of 8, the next one where that is less than 90 %."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _block(
    values: dict[str, Tensor], name: str, row: dict[str, str], x: Tensor, norm: Norm
) -> Tensor:
    activation = torch.nn.functional.silu if "sw" in row else torch.relu
    before, stride, place = x, int(row["s"][0]), 0
    if row["e"] != "1":
        x = _pointwise(values, f"{name}.0.grouped_conv", row["a"], x)
        x = activation(norm(f"{name}.1", x))
        place = 3
    x = _mixed(values, f"{name}.{place}.mixed_depthwise_conv", row["k"], stride, x)
    x = activation(norm(f"{name}.{place + 1}", x))
    place += 3
    if "se" in row:
        squeezed = values[f"{name}.{place}.conv_reduce.weight"].shape[0]
        assert squeezed == int(int(row["i"]) * float(row["se"]))
        x = x * _gate(values, f"{name}.{place}", x)
        place += 1
    x = _pointwise(values, f"{name}.{place}.grouped_conv", row["p"], x)
    x = norm(f"{name}.{place + 1}", x)
    assert x.shape[1] == int(row["o"])
    return before + x if stride == 1 and row["i"] == row["o"] else x


def _shares(channels: int, parts: int) -> list[int]:
    """Returns equal shares, what is left over to the first."""
    share = channels // parts
    return [channels - share * (parts - 1)] + [share] * (parts - 1)


def _weights(values: dict[str, Tensor], name: str, parts: int) -> list[Tensor]:
    if parts == 1:
        return [values[f"{name}.weight"]]
    return [values[f"{name}.{part}.weight"] for part in range(parts)]


def _pointwise(values: dict[str, Tensor], name: str, sizes: str, x: Tensor) -> Tensor:
    weights = _weights(values, name, len(sizes.split(".")))
    parts = x.split(_shares(x.shape[1], len(weights)), 1)
    return torch.cat([torch.conv2d(*pair) for pair in zip(parts, weights, strict=True)], 1)


def _mixed(values: dict[str, Tensor], name: str, sizes: str, stride: int, x: Tensor) -> Tensor:
    kernels = [int(size) for size in sizes.split(".")]
    weights = _weights(values, name, len(kernels))
    parts = x.split(_shares(x.shape[1], len(kernels)), 1)
    assert [weight.shape[2] for weight in weights] == kernels
    return torch.cat(
        [
            torch.conv2d(p, w, stride=stride, padding=k // 2, groups=p.shape[1])
            for p, w, k in zip(parts, weights, kernels, strict=True)
        ],
        1,
    )


def _gate(values: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    x = x.mean((2, 3), keepdim=True)
    x = torch.conv2d(
        x, values[f"{name}.conv_reduce.weight"], values[f"{name}.conv_reduce.bias"]
    ).relu()
    return torch.conv2d(
        x, values[f"{name}.conv_expand.weight"], values[f"{name}.conv_expand.bias"]
    ).sigmoid()
