"""Against the lists of names and shapes that MindCV and timm wrote; see data/README.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import get_args

import pytest

from mixnet_core.model.variants import FLAVOURS, FlavourName, VariantName
from mixnet_core.model.weight_names import (
    Convention,
    convention_of,
    mindcv_name,
    mindcv_names,
    names,
    parameters,
    stem_widths,
    timm_name,
    timm_names,
    variant_of_stem,
)
from tests.model.reference import DATA

# timm's ports of TensorFlow's weights have the names and shapes of its own.
PUBLISHED: list[tuple[FlavourName, VariantName]] = [
    *(("mindcv", variant) for variant in ("s", "m", "l")),
    *(("timm", variant) for variant in ("s", "m", "l", "xl")),
    *(("tf", variant) for variant in ("s", "m", "l")),
]


def listed(convention: Convention, variant: VariantName) -> Mapping[str, tuple[int, ...]]:
    facts = json.loads((DATA / f"{convention}_mixnet_{variant}.json").read_text())
    return {name: tuple(shape) for name, shape, _ in facts["tensors"]}


@pytest.mark.parametrize(("flavour", "variant"), PUBLISHED)
def test_names_and_shapes_are_those_of_published_files_in_order(
    flavour: FlavourName, variant: VariantName
) -> None:
    convention = convention_of(flavour)
    expected = listed(convention, variant)
    assert names(variant, convention) == tuple(expected)
    found = {
        getattr(parameter, convention): parameter.shape
        for parameter in parameters(variant, flavour)
    }
    assert found == expected


@pytest.mark.parametrize("variant", ["s", "m", "l"])
def test_a_name_stands_for_the_tensor_of_the_same_place_in_both_systems(
    variant: VariantName,
) -> None:
    # Both systems list layers in the order of computing, the four of a BatchNorm in their own.
    ours, theirs = listed("mindcv", variant), listed("timm", variant)
    norms = {"moving_mean": "running_mean", "moving_variance": "running_var"}
    norms |= {"gamma": "weight", "beta": "bias"}
    normalising = {name.rpartition(".")[0] for name in theirs if name.endswith("running_mean")}
    assert [timm_name(name, variant) for name in ours if name.split(".")[-1] not in norms] == [
        name for name in theirs if name.rpartition(".")[0] not in normalising
    ]
    for kind, their_kind in norms.items():
        places = [name for name in theirs if name.rpartition(".")[0] in normalising]
        assert [timm_name(name, variant) for name in ours if name.endswith(f".{kind}")] == [
            name for name in places if name.endswith(f".{their_kind}")
        ]


@pytest.mark.parametrize("variant", get_args(VariantName))
def test_every_name_has_one_in_the_other_convention_and_back(variant: VariantName) -> None:
    there, back = timm_names(variant), mindcv_names(variant)
    assert len(there) == len(back) == len(parameters(variant))
    assert {mindcv_name(timm_name(name, variant), variant) for name in there} == set(there)
    assert set(there.values()) == set(names(variant, "timm"))
    with pytest.raises(KeyError):
        timm_name("layers.99.convs.0.weight", variant)


def test_parts_are_numbered_only_where_there_are_several() -> None:
    there = timm_names("s")
    assert there["layers.1.convs.3.mixed_depthwise_conv.weight"] == "blocks.1.0.conv_dw.weight"
    mixed = "layers.3.convs.3.mixed_depthwise_conv.2.weight"
    assert there[mixed] == "blocks.2.0.conv_dw.2.weight"
    assert there["layers.0.convs.3.grouped_conv.weight"] == "blocks.0.0.conv_pw.weight"
    assert there["layers.1.convs.6.grouped_conv.1.weight"] == "blocks.1.0.conv_pwl.1.weight"


@pytest.mark.parametrize("variant", get_args(VariantName))
def test_shapes_do_not_tell_flavours_apart(variant: VariantName) -> None:
    assert len({parameters(variant, flavour) for flavour in FLAVOURS}) == 1


def test_the_stems_width_tells_the_variant() -> None:
    assert stem_widths() == {16: "s", 24: "m", 32: "l", 40: "xl"}
    assert variant_of_stem(24) == "m"
    assert variant_of_stem(48) is None


def test_classes_and_channels_change_the_ends_alone() -> None:
    usual = parameters("m", "timm")
    other = parameters("m", "timm", num_classes=7, in_channels=1)
    changed = {a.timm: b.shape for a, b in zip(usual, other, strict=True) if a != b}
    assert changed == {
        "conv_stem.weight": (24, 1, 3, 3),
        "classifier.weight": (7, 1536),
        "classifier.bias": (7,),
    }
    assert all(re.fullmatch(r"[a-z0-9_.]+", parameter.timm) for parameter in usual)
