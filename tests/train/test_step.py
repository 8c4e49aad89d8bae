"""One step is the same computation however it is divided or scaled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mixnet_core.launch import run_stage
from tests.train.steps import Job, Outcome

MOMENTUM = {"optimizer.name": "momentum", "devices.ranks": 1}

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("steps")
    done: dict[str, Outcome] = {}

    def run(**settings: Any) -> Outcome:
        changed = MOMENTUM | {key.replace("__", "."): value for key, value in settings.items()}
        key = repr(sorted(changed.items()))
        if key not in done:
            result = run_stage(
                "tests.train.steps",
                Job(settings=changed),
                attempts=folder,
                ranks=changed["devices.ranks"],
            )
            done[key] = Outcome.model_validate(result)
        return done[key]

    return run


def expect_equal_weights(left: Outcome, right: Outcome) -> None:
    assert left.weights.keys() == right.weights.keys()
    for name, values in left.weights.items():
        np.testing.assert_allclose(values, right.weights[name], rtol=2e-5, atol=2e-6, err_msg=name)


def test_two_ranks_with_half_the_batch_make_the_steps_of_one_with_all_of_it(outcome: Run) -> None:
    expect_equal_weights(outcome(devices__ranks=2), outcome())


def test_a_loss_scale_changes_neither_loss_nor_update(outcome: Run) -> None:
    scaled, plain = outcome(precision__loss_scale=256.0), outcome()
    np.testing.assert_allclose(scaled.losses, plain.losses, rtol=1e-5)
    expect_equal_weights(scaled, plain)


def test_label_smoothing_is_in_the_loss(outcome: Run) -> None:
    smoothed, sharp = outcome(), outcome(training__label_smoothing=0.0)
    assert abs(smoothed.losses[0] - sharp.losses[0]) > 1e-3
