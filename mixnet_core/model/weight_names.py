"""The names and shapes of a MixNet's parameters, as MindCV's files and as timm's have them.

    MindCV's                                    timm's
    stem_conv.0.weight                          conv_stem.weight
    stem_conv.1.gamma                           bn1.weight
    layers.1.convs.0.grouped_conv.0.weight      blocks.1.0.conv_pw.0.weight
    layers.3.convs.6.conv_reduce.bias           blocks.2.0.se.conv_reduce.bias

MindCV numbers all blocks, timm the stages and the blocks in each; rows of a variant's table with
equal output channels are one stage. MindCV's names are this project's network's. timm's ports of
TensorFlow's weights (`tf_mixnet_*`) have timm's names. All is computed from the variants' tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

from mixnet_core.model.variants import (
    FLAVOURS,
    VARIANTS,
    Block,
    Flavour,
    FlavourName,
    VariantName,
    round_channels,
    split_channels,
)

Convention = Literal["mindcv", "timm"]
Shape = tuple[int, ...]

# Of a BatchNorm: MindCV's and timm's names, each in the order of its own files.
_MINDCV_NORM = ("moving_mean", "moving_variance", "gamma", "beta")
_TIMM_NORM = ("weight", "bias", "running_mean", "running_var")
_NORM = dict(zip(_MINDCV_NORM, ("running_mean", "running_var", "weight", "bias"), strict=True))


@dataclass(frozen=True)
class NamedParameter:
    """Names one parameter in both conventions.

    Attributes:
        mindcv, timm: its names.
        shape: of its values.
    """

    mindcv: str
    timm: str
    shape: Shape


def convention_of(flavour: FlavourName) -> Convention:
    """Returns whose names the published weights of a flavour have."""
    return "mindcv" if flavour == "mindcv" else "timm"


def parameters(
    variant: VariantName,
    flavour: FlavourName = "mindcv",
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> tuple[NamedParameter, ...]:
    """Lists a network's parameters, BatchNorm's statistics among them, in MindCV's order.

    Args:
        flavour: decides the width of squeeze-excite. In the published variants all flavours have
            the same, so that shapes do not tell them apart.
        num_classes: width of the classifier.
        in_channels: of the images.
    """
    return tuple(_network(variant, FLAVOURS[flavour], num_classes, in_channels))


@cache
def names(variant: VariantName, convention: Convention) -> tuple[str, ...]:
    """Returns a variant's names in one convention, in the order in which its files have them.

    timm's files also count the batches of each BatchNorm (`num_batches_tracked`), which is no
    parameter of the network.
    """
    found = parameters(variant)
    if convention == "mindcv":
        return tuple(parameter.mindcv for parameter in found)
    return tuple(_in_timms_order(found))


def timm_name(name: str, variant: VariantName) -> str:
    """Returns timm's name of a parameter.

    Args:
        name: MindCV's.

    Raises:
        KeyError: the variant has no such parameter.
    """
    return timm_names(variant)[name]


def mindcv_name(name: str, variant: VariantName) -> str:
    """Returns MindCV's name of a parameter.

    Args:
        name: timm's.

    Raises:
        KeyError: the variant has no such parameter.
    """
    return mindcv_names(variant)[name]


@cache
def timm_names(variant: VariantName) -> Mapping[str, str]:
    """Maps all of a variant's names: MindCV's -> timm's."""
    return {parameter.mindcv: parameter.timm for parameter in parameters(variant)}


@cache
def mindcv_names(variant: VariantName) -> Mapping[str, str]:
    """Maps all of a variant's names: timm's -> MindCV's."""
    return {parameter.timm: parameter.mindcv for parameter in parameters(variant)}


def variant_of_stem(channels: int) -> VariantName | None:
    """Returns the variant whose first layer has so many channels; all differ. None: no variant's.

    Args:
        channels: of the stem's output.
    """
    return stem_widths().get(channels)


@cache
def stem_widths() -> Mapping[int, VariantName]:
    """Returns the output channels of the first layer -> variant."""
    return {_scaled(row.stem_channels, row.width): name for name, row in VARIANTS.items()}


def _scaled(channels: int, width: float) -> int:
    return round_channels(channels * width)


def _network(
    name: VariantName, flavour: Flavour, num_classes: int, in_channels: int
) -> Iterator[NamedParameter]:
    variant = VARIANTS[name]
    channels = _scaled(variant.stem_channels, variant.width)
    yield NamedParameter("stem_conv.0.weight", "conv_stem.weight", (channels, in_channels, 3, 3))
    yield from _norm("stem_conv.1", "bn1", channels)
    layer = 0
    for (stage, place), row in zip(_stages(variant.blocks), variant.blocks, strict=True):
        out = _scaled(row.out_channels, variant.width)
        for repeat in range(row.repeats):
            timm = f"blocks.{stage}.{place + repeat}"
            yield from _block(f"layers.{layer}.convs", timm, channels, out, row, flavour)
            channels, layer = out, layer + 1
    head = variant.head_channels
    yield NamedParameter("head_conv.0.weight", "conv_head.weight", (head, channels, 1, 1))
    yield from _norm("head_conv.1", "bn2", head)
    yield NamedParameter("classifier.weight", "classifier.weight", (num_classes, head))
    yield NamedParameter("classifier.bias", "classifier.bias", (num_classes,))


def _stages(rows: tuple[Block, ...]) -> list[tuple[int, int]]:
    """Returns for each row timm's stage, and the place in it of the row's first block."""
    found = [(0, 0)]
    for before, row in pairwise(rows):
        stage, place = found[-1]
        same = before.out_channels == row.out_channels
        found.append((stage, place + before.repeats) if same else (stage + 1, 0))
    return found


def _block(
    mindcv: str, timm: str, channels: int, out: int, row: Block, flavour: Flavour
) -> Iterator[NamedParameter]:
    """Yields a block's parameters; both systems have them in the same order.

    MindCV numbers all cells of the block, activations too; timm the BatchNorms alone, and calls the
    1x1 convolution of a block without expansion as the expanding one of others.
    """
    inner = channels * row.expansion
    expands = row.expansion != 1
    cell, norms = 0, 1
    if expands:
        prefixes = f"{mindcv}.0.grouped_conv", f"{timm}.conv_pw"
        yield from _pointwise(*prefixes, channels, inner, row.expand_groups)
        yield from _norm(f"{mindcv}.1", f"{timm}.bn1", inner)
        cell, norms = 3, 2
    yield from _depthwise(
        f"{mindcv}.{cell}.mixed_depthwise_conv", f"{timm}.conv_dw", inner, row.kernels
    )
    yield from _norm(f"{mindcv}.{cell + 1}", f"{timm}.bn{norms}", inner)
    cell += 3
    if row.se_ratio > 0:
        squeezed = flavour.squeeze_channels(channels, row.se_ratio)
        yield from _gate(f"{mindcv}.{cell}", f"{timm}.se", inner, squeezed)
        cell += 1
    project = f"{timm}.conv_pwl" if expands else f"{timm}.conv_pw"
    yield from _pointwise(f"{mindcv}.{cell}.grouped_conv", project, inner, out, row.project_groups)
    yield from _norm(f"{mindcv}.{cell + 1}", f"{timm}.bn{norms + 1}", out)


def _norm(mindcv: str, timm: str, channels: int) -> Iterator[NamedParameter]:
    for ours, theirs in _NORM.items():
        yield NamedParameter(f"{mindcv}.{ours}", f"{timm}.{theirs}", (channels,))


def _gate(mindcv: str, timm: str, channels: int, squeezed: int) -> Iterator[NamedParameter]:
    rows = (("conv_reduce", squeezed, channels), ("conv_expand", channels, squeezed))
    for conv, out, given in rows:
        shapes: tuple[tuple[str, Shape], ...] = (("weight", (out, given, 1, 1)), ("bias", (out,)))
        for kind, shape in shapes:
            yield NamedParameter(f"{mindcv}.{conv}.{kind}", f"{timm}.{conv}.{kind}", shape)


def _pointwise(
    mindcv: str, timm: str, channels: int, out: int, parts: int
) -> Iterator[NamedParameter]:
    splits = zip(split_channels(out, parts), split_channels(channels, parts), strict=True)
    yield from _parts(mindcv, timm, [(wide, given, 1, 1) for wide, given in splits])


def _depthwise(
    mindcv: str, timm: str, channels: int, kernels: tuple[int, ...]
) -> Iterator[NamedParameter]:
    shares = zip(split_channels(channels, len(kernels)), kernels, strict=True)
    yield from _parts(mindcv, timm, [(share, 1, k, k) for share, k in shares])


def _parts(mindcv: str, timm: str, shapes: list[Shape]) -> Iterator[NamedParameter]:
    """Yields the weights of a convolution in parts; one that has a single part is not numbered."""
    for number, shape in enumerate(shapes):
        part = f".{number}" if len(shapes) > 1 else ""
        yield NamedParameter(f"{mindcv}{part}.weight", f"{timm}{part}.weight", shape)


def _in_timms_order(found: tuple[NamedParameter, ...]) -> Iterator[str]:
    rest = iter(found)
    for parameter in rest:
        norm, _, kind = parameter.timm.rpartition(".")
        if parameter.mindcv.rpartition(".")[2] not in _NORM:
            yield parameter.timm
            continue
        assert kind == _NORM[_MINDCV_NORM[0]]
        for _ in _MINDCV_NORM[1:]:
            next(rest)
        yield from (f"{norm}.{name}" for name in _TIMM_NORM)
