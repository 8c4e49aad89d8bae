"""What timm reads beside its weights, and which networks it has."""

from __future__ import annotations

from typing import Any

import pytest

from mixnet_core.errors import InputError
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.timm_config import timm_config
from mixnet_core.recipe.kinds import FORMATS
from mixnet_core.recipe.recipe import load_recipe


def item(**changes: Any) -> Exportable:
    settings = {
        "network.flavour": "timm",
        "network.stem_stride": 2,
        "input.image_size": 64,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    return Exportable(
        name="mine",
        recipe=load_recipe("digits", settings),
        weights="/w.ckpt",
        sha256="0" * 64,
        classes=("nought", "one"),
        width=2,
    )


def test_the_config_says_network_classes_and_how_images_are_read_in_timm_s_units() -> None:
    config = timm_config(item(input__crop_pct=0.875, input__interpolation="bicubic"))
    assert config["architecture"] == "mixnet_s"
    assert (config["num_classes"], config["num_features"]) == (2, 1536)
    assert config["label_names"] == ["nought", "one"]
    cfg = config["pretrained_cfg"]
    assert cfg["input_size"] == [3, 64, 64]
    assert (cfg["crop_pct"], cfg["interpolation"]) == (0.875, "bicubic")
    assert cfg["mean"] == pytest.approx([78 / 255] * 3)
    assert cfg["std"] == pytest.approx([96 / 255] * 3)


def test_tensorflow_s_ports_and_grey_images_are_named_as_timm_does() -> None:
    config = timm_config(item(network__flavour="tf", network__variant="m", network__in_channels=1))
    assert config["architecture"] == "tf_mixnet_m"
    assert config["model_args"] == {"in_chans": 1}
    assert config["pretrained_cfg"]["input_size"][0] == 1
    assert len(config["pretrained_cfg"]["mean"]) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network__flavour": "mindcv"}, "MindCV's conventions.*network.flavour timm"),
        ({"network__stem_stride": 1}, "stem_stride 1, timm's have 2"),
        ({"network__flavour": "tf", "network__variant": "xl"}, "tf_mixnet_xl, which timm has not"),
    ],
)
def test_what_timm_has_not_is_refused_in_a_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        FORMATS.load("timm").check("r", item(**changes).recipe.network)


def test_what_timm_has_is_taken() -> None:
    FORMATS.load("timm").check("r", item().recipe.network)
