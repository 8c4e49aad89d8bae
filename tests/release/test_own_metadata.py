"""What an exported file says of itself is what its network is read by again."""

from __future__ import annotations

from typing import Any

import pytest

from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.told import told_by_itself

RECIPE = load_recipe(
    "finetune",
    {
        "network.stem_stride": 1,
        "network.flavour": "tf",
        "input.image_size": 32,
        "input.crop_pct": 0.9,
        "input.interpolation": "bilinear",
        "input.mean": [10.5, 20, 30],
        "input.std": [40, 50, 60.25],
    },
)


@pytest.mark.parametrize("classes", [("zwei", 'a "b"'), None])
def test_all_that_decides_a_prediction_is_found_again(classes: tuple[str, ...] | None) -> None:
    item = Exportable(
        name="mine", recipe=RECIPE, weights="/w", sha256="0" * 64, classes=classes, width=2
    )
    told = told_by_itself(metadata_of(item))
    assert told.network == {"flavour": "tf", "stem_stride": 1}
    assert told.input == RECIPE.input.model_dump(mode="json")
    assert told.classes == classes


@pytest.mark.parametrize(
    "said",
    [
        {"classes": '["a", "a"]', "image_size": "-1", "mean": "[1, 2]", "std": '"x"'},
        {"classes": "[" * 100_000, "flavour": "mine", "stem_stride": "3", "crop_pct": "nan"},
        {"classes": "1", "image_size": "1e9", "interpolation": "nearest", "mean": "{}"},
    ],
)
def test_what_cannot_be_is_passed_over(said: dict[str, str]) -> None:
    told: Any = told_by_itself(said)
    assert (told.network, told.input, told.classes, told.who) == ({}, {}, None, "")
