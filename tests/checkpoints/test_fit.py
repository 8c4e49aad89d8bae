"""What a file's names and shapes tell of its network."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from mixnet_core.checkpoints.file_format import read_format
from mixnet_core.checkpoints.fit import PARAMETERS, seen_network
from mixnet_core.errors import CheckpointMismatch
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.variants import VariantName
from tests.mindcv_cells import TrainedByMindcv, save, save_named


@pytest.mark.parametrize("variant", get_args(VariantName))
def test_a_variant_shows_in_its_shapes_and_has_so_many_parameters(
    variant: VariantName, tmp_path: Path
) -> None:
    net = build_model(variant, 7, 1)
    seen = seen_network(read_format(save(net, tmp_path / "w.ckpt")))
    assert (seen.variant, seen.num_classes, seen.in_channels) == (variant, 7, 1)
    assert len(seen.parts.weights) == PARAMETERS[variant]


def test_a_trainings_file_is_seen_through(trained_by_mindcv: TrainedByMindcv) -> None:
    for path in (trained_by_mindcv.training, trained_by_mindcv.averaged):
        seen = seen_network(read_format(path))
        assert (seen.variant, seen.num_classes) == ("s", 10)
        assert len(seen.parts.weights) == PARAMETERS["s"]
        assert seen.parts.unknown == []


RESNET = {"conv1.weight": np.ones((64, 3, 7, 7), np.float32), "fc.bias": np.ones(10, np.float32)}
TIMM = {"conv_stem.weight": np.ones((16, 3, 3, 3), np.float32)}
TIMMS_EFFICIENTNET = {
    "conv_stem.weight": np.ones((48, 3, 3, 3), np.float32),
    "classifier.weight": np.ones((10, 8), np.float32),
}
EFFICIENTNET = {
    "stem_conv.0.weight": np.ones((48, 3, 3, 3), np.float32),
    "classifier.weight": np.ones((10, 8), np.float32),
}
MIXED = {
    "network.stem_conv.0.weight": np.ones((16, 3, 3, 3), np.float32),
    "classifier.weight": np.ones((10, 1536), np.float32),
}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (RESNET, r"no stem_conv\.0\.weight, so it is no MixNet's .*first parameter is conv1\.wei"),
        (TIMM, r"no classifier\.weight, so it is no MixNet's under timm's names: its first param"),
        (TIMMS_EFFICIENTNET, r"a stem of 48 channels, expected one of \[16, 24, 32, 40\]"),
        (EFFICIENTNET, r"a stem of 48 channels, expected one of \[16, 24, 32, 40\]"),
        (MIXED, r"stand in it plain and under network\., expected one network"),
    ],
)
def test_another_network_is_said_in_one_line(
    parameters: dict[str, np.ndarray],  # type: ignore[type-arg]
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointMismatch, match=message) as raised:
        seen_network(read_format(save_named(parameters, tmp_path / "w.ckpt")))
    assert "\n" not in str(raised.value)
