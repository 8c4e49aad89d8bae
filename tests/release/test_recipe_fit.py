"""Whether a file fits the recipe that starts from it, told before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.checkpoints.store import read_parameters
from mixnet_core.errors import CheckpointMismatch, InputError, RecipeError
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.recipe_fit import expect_weights_fit
from tests.mindcv_cells import TrainedByMindcv, save_named


def said(path: Path, **settings: Any) -> str:
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return expect_weights_fit(path, load_recipe("digits", {"weights.name": "mine"} | changes))


def test_a_trainings_file_fits_and_what_is_left_out_is_said(
    trained_by_mindcv: TrainedByMindcv,
) -> None:
    assert said(trained_by_mindcv.plain) == ""
    # 249 momenta, global_step, momentum and the rates.
    assert said(trained_by_mindcv.training) == (
        "left out of a training's state: 252 parameters of the optimizer, 1 of the loss scale, 1 "
        "of counters"
    )
    assert said(trained_by_mindcv.averaged).endswith("; weights.ema=true takes the averages")
    taken = said(trained_by_mindcv.averaged, weights__ema=True)
    assert taken.startswith("the moving averages are taken; left out")


def test_averages_are_asked_for_only_where_they_are(trained_by_mindcv: TrainedByMindcv) -> None:
    with pytest.raises(InputError, match="holds no moving averages"):
        said(trained_by_mindcv.training, weights__ema=True)
    with pytest.raises(RecipeError, match="ema without name"):
        load_recipe("digits", {"weights.ema": True})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network__variant": "m"}, "network.variant s, the recipe says m; leave network.variant"),
        ({"network__in_channels": 1}, "network.in_channels 3, the recipe says 1"),
        ({"network__num_classes": 7}, "is for 10 classes, the recipe says 7; set weights.reset_cl"),
    ],
)
def test_another_network_than_the_recipes_is_said_in_one_line(
    trained_by_mindcv: TrainedByMindcv, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointMismatch) as raised:
        said(trained_by_mindcv.training, **settings)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_new_classifier_makes_the_number_of_classes_free(
    trained_by_mindcv: TrainedByMindcv,
) -> None:
    said(trained_by_mindcv.plain, network__num_classes=7, weights__reset_classifier=True)
    said(trained_by_mindcv.plain, network__num_classes=None)


def test_what_lacks_a_parameter_or_holds_an_unknown_one_is_refused(
    trained_by_mindcv: TrainedByMindcv, tmp_path: Path
) -> None:
    whole = {name: p.asnumpy() for name, p in read_parameters(trained_by_mindcv.plain).items()}
    less = {name: value for name, value in whole.items() if name != "head_conv.1.gamma"}
    with pytest.raises(
        CheckpointMismatch, match="it has 346 parameters of a MixNet-S, expected 347"
    ):
        said(save_named(less, tmp_path / "less.ckpt"))
    more = whole | {"moments.other.weight": np.ones(3, np.float32)}
    with pytest.raises(CheckpointMismatch, match=r"unexpected moments\.other\.weight"):
        said(save_named(more, tmp_path / "more.ckpt"))
