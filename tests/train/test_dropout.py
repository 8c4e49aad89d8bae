"""What is dropped: the right share, rescaled, and the same again for the same step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.train.dropout import Dropout

DEPTHS = (0.0, 0.25, 0.75)
FEATURES = 500


def dropout(rank: int = 0, **settings: Any) -> Dropout:
    changed = {
        "training.global_batch": 400,
        "devices.ranks": 2,
        "network.drop_rate": 0.2,
        "network.drop_path_rate": 0.4,
    } | {key.replace("__", "."): value for key, value in settings.items()}
    return Dropout(load_recipe("digits", changed), rank, features=FEATURES, depths=DEPTHS)


def test_features_are_left_out_at_the_rate_and_the_rest_makes_up_for_it() -> None:
    features, _ = dropout().draw(epoch=0, step=0, micro_batch=0)
    assert features is not None
    assert (features.shape, features.dtype) == ((200, FEATURES), np.float32)
    assert set(np.unique(features)) == {0.0, np.float32(1 / (1 - np.float32(0.2)))}
    assert (features == 0).mean() == pytest.approx(0.2, abs=0.01)
    assert features.mean() == pytest.approx(1, abs=0.01)


def test_deeper_blocks_are_left_out_more_often() -> None:
    drawn = [dropout().draw(epoch=0, step=step, micro_batch=0)[1] for step in range(100)]
    paths = np.concatenate([paths for paths in drawn if paths is not None])
    assert paths.shape == (100 * 200, len(DEPTHS))
    np.testing.assert_allclose((paths == 0).mean(0), [0, 0.1, 0.3], atol=0.015)
    np.testing.assert_allclose(paths.mean(0), 1, atol=0.02)


def test_nothing_is_drawn_where_nothing_is_dropped() -> None:
    none = dropout(network__drop_rate=0.0, network__drop_path_rate=0.0)
    assert none.draw(epoch=0, step=0, micro_batch=0) == (None, None)
    features, paths = dropout(network__drop_path_rate=0.0).draw(epoch=0, step=0, micro_batch=0)
    assert features is not None
    assert paths is None


def test_every_step_rank_part_and_seed_draws_anew_and_always_the_same() -> None:
    first, _ = dropout().draw(epoch=1, step=2, micro_batch=0)
    again, _ = dropout().draw(epoch=1, step=2, micro_batch=0)
    np.testing.assert_array_equal(first, again)
    others = [
        dropout().draw(epoch=2, step=2, micro_batch=0),
        dropout().draw(epoch=1, step=3, micro_batch=0),
        dropout().draw(epoch=1, step=2, micro_batch=1),
        dropout(rank=1).draw(epoch=1, step=2, micro_batch=0),
        dropout(training__seed=7).draw(epoch=1, step=2, micro_batch=0),
    ]
    for other, _ in others:
        assert (other != first).any()


def test_a_part_has_as_many_rows_as_the_micro_batch() -> None:
    features, _ = dropout(devices__micro_batch=50).draw(epoch=0, step=0, micro_batch=3)
    assert features is not None
    assert len(features) == 50


def test_a_virtual_rank_draws_the_same_on_whichever_rank_it_is() -> None:
    settings: dict[str, Any] = {"training__virtual_ranks": 4}
    four = [dropout(rank, **settings, devices__ranks=4) for rank in range(4)]
    two = [dropout(rank, **settings, devices__ranks=2) for rank in range(2)]
    drawn = [each.draw(epoch=1, step=2, micro_batch=0)[0] for each in four]
    again = [each.draw(epoch=1, step=2, micro_batch=part)[0] for each in two for part in (0, 1)]
    for left, right in zip(drawn, again, strict=True):
        assert left is not None
        assert right is not None
        np.testing.assert_array_equal(left, right)
    assert len({left.tobytes() for left in drawn if left is not None}) == 4
