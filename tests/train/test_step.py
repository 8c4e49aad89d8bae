"""One step is the same computation however it is divided or scaled, and keeps what it should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mixnet_core.processes.launch import run_job
from mixnet_core.storage.files import read_json
from tests.train.steps import RATE, STEPS, Job, Outcome

MOMENTUM = {"optimizer.name": "momentum", "optimizer.weight_decay": 0.0, "devices.ranks": 1}
PLAIN_SGD = {"optimizer__momentum": 0.0}

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


@pytest.fixture(scope="module")
def outcome(attempts: Path) -> Run:
    done: dict[str, Outcome] = {}

    def run(
        norm: bool = False, spoiled: tuple[int, ...] = (), scale_window: int = 2000, **settings: Any
    ) -> Outcome:
        """`__` in a setting's name stands for a dot."""
        changed = MOMENTUM | {key.replace("__", "."): value for key, value in settings.items()}
        job = Job(settings=changed, norm=norm, spoiled=list(spoiled), scale_window=scale_window)
        key = job.model_dump_json()
        if key not in done:
            result = run_job(
                "tests.train.steps",
                job,
                attempts=attempts,
                ranks=changed["devices.ranks"],
                threads=1 if "training.virtual_ranks" in changed else 0,
            )
            done[key] = Outcome.model_validate(result)
        return done[key]

    return run


def expect_equal_weights(left: Outcome, right: Outcome) -> None:
    assert left.weights.keys() == right.weights.keys()
    for name, values in left.weights.items():
        np.testing.assert_allclose(values, right.weights[name], rtol=2e-5, atol=2e-6, err_msg=name)


def moved(outcome: Outcome, step: int) -> NDArray[np.float64]:
    """What step 1 or 2 added to all weights, as one vector."""
    before, after = outcome.history[step - 1], outcome.history[step]
    return np.concatenate([np.subtract(after[name], before[name]) for name in after])


def test_two_ranks_with_half_the_batch_make_the_steps_of_one_with_all_of_it(outcome: Run) -> None:
    expect_equal_weights(outcome(devices__ranks=2), outcome())


@pytest.mark.long
@pytest.mark.parametrize("statistics", ["local", "averaged"])
def test_two_virtual_ranks_make_the_steps_of_two_ranks_and_their_statistics(
    statistics: str, outcome: Run
) -> None:
    kind: dict[str, Any] = {"norm": True, "training__batch_statistics": statistics}
    virtual = outcome(training__virtual_ranks=2, **kind)
    expect_equal_weights(virtual, outcome(devices__ranks=2, **kind))
    assert any("moving_mean" in name for name in virtual.weights)


# Two ranks add up in one AllReduce, more gather first.
@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.long)])
def test_any_number_of_ranks_makes_the_same_bits_of_virtual_ones(ranks: int, outcome: Run) -> None:
    kind: dict[str, Any] = {
        "norm": True,
        "spoiled": (1,),
        "training__virtual_ranks": 4,
        "training__batch_statistics": "averaged",
        "training__ema_decay": 0.9,
        "optimizer__clip_norm": 0.05,
        "precision__loss_scale_type": "dynamic",
        "precision__loss_scale": 64.0,
        "precision__drop_overflow_update": True,
    }
    one, several = (outcome(devices__ranks=count, **kind) for count in (1, ranks))
    assert one.applied == [True, False, True]
    assert several.history == one.history
    assert several.averages == one.averages
    assert (several.applied, several.scales) == (one.applied, one.scales)
    assert [several.losses[0], several.losses[2]] == [one.losses[0], one.losses[2]]


def test_accumulated_parts_make_the_steps_of_the_whole_batch(outcome: Run) -> None:
    parts, whole = outcome(devices__micro_batch=2), outcome()
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-5)
    expect_equal_weights(parts, whole)


def test_ranks_that_accumulate_and_clip_make_the_steps_of_one_that_clips(outcome: Run) -> None:
    clip = {"optimizer__clip_norm": 0.05}
    expect_equal_weights(outcome(devices__ranks=2, devices__micro_batch=2, **clip), outcome(**clip))


def test_a_loss_scale_changes_neither_loss_nor_update(outcome: Run) -> None:
    scaled, plain = outcome(precision__loss_scale=256.0), outcome()
    np.testing.assert_allclose(scaled.losses, plain.losses, rtol=1e-5)
    expect_equal_weights(scaled, plain)


def test_a_clipped_update_has_the_direction_of_the_gradient_and_the_norm_asked_for(
    outcome: Run,
) -> None:
    clipped, free = outcome(optimizer__clip_norm=0.05, **PLAIN_SGD), outcome(**PLAIN_SGD)
    first = {"clipped": clipped.history[0], "free": free.history[0]}
    start = outcome(spoiled=(0, 1, 2), precision__drop_overflow_update=True, **PLAIN_SGD).weights
    steps = {
        key: np.concatenate([np.subtract(after[name], start[name]) for name in after])
        for key, after in first.items()
    }
    assert np.linalg.norm(steps["clipped"]) == pytest.approx(RATE * 0.05, rel=1e-3)
    cosine = steps["clipped"] @ steps["free"]
    cosine /= np.linalg.norm(steps["clipped"]) * np.linalg.norm(steps["free"])
    assert cosine == pytest.approx(1, abs=1e-4)


def test_a_gradient_shorter_than_the_limit_is_left_alone(outcome: Run) -> None:
    expect_equal_weights(outcome(optimizer__clip_norm=1e4), outcome())


def test_a_step_that_overflows_is_dropped_whole_and_the_next_is_as_if_it_never_was(
    outcome: Run,
) -> None:
    dropped = outcome(spoiled=(1,), precision__drop_overflow_update=True)
    assert dropped.applied == [True, False, True]
    assert dropped.history[1] == dropped.history[0]
    assert np.isfinite(dropped.losses[2])


def test_on_two_ranks_one_that_overflows_makes_both_drop(outcome: Run, attempts: Path) -> None:
    dropped = outcome(spoiled=(1,), precision__drop_overflow_update=True, devices__ranks=2)
    other = Outcome.model_validate(read_json(sorted(attempts.glob("*/outcome-1.json"))[-1]))
    assert dropped.applied == other.applied == [True, False, True]
    # Only the other rank had the spoiled image.
    assert np.isfinite(dropped.losses[1])
    assert dropped.weights == other.weights


def test_without_dropping_an_overflow_reaches_the_weights(outcome: Run) -> None:
    spoiled = outcome(spoiled=(1,))
    assert spoiled.applied == [True] * STEPS
    assert np.isnan(spoiled.weights["conv.weight"]).any()


def test_a_dynamic_scale_halves_at_an_overflow_doubles_after_a_window_and_changes_no_update(
    outcome: Run,
) -> None:
    dynamic = {
        "precision__loss_scale_type": "dynamic",
        "precision__loss_scale": 64.0,
        "precision__drop_overflow_update": True,
    }
    grown = outcome(scale_window=2, **dynamic)
    assert grown.scales == [64.0, 128.0, 128.0]
    expect_equal_weights(grown, outcome())
    shrunk = outcome(spoiled=(1,), scale_window=2, **dynamic)
    assert shrunk.scales == [64.0, 32.0, 32.0]
    assert shrunk.applied == [True, False, True]


@pytest.mark.parametrize(
    ("changes", "scales"),
    [
        ({"precision__loss_scale": 4.0}, [2.0, 1.0, 1.0]),
        ({"precision__loss_scale": 1.0}, [1.0, 1.0, 1.0]),
        # Never raised by an overflow either.
        ({"precision__loss_scale": 0.5}, [0.5, 0.5, 0.5]),
        ({"precision__loss_scale": 4.0, "rules": 1}, [2.0, 1.0, 0.5]),
    ],
)
def test_overflows_take_a_dynamic_scale_to_1_and_no_further(
    outcome: Run, changes: dict[str, Any], scales: list[float]
) -> None:
    dynamic = {"precision__loss_scale_type": "dynamic", "precision__drop_overflow_update": True}
    assert outcome(spoiled=(0, 1, 2), **dynamic, **changes).scales == scales


def test_averages_follow_weights_and_statistics_by_mindcvs_rule(outcome: Run) -> None:
    averaged = outcome(norm=True, training__ema_decay=0.5)
    assert averaged.weights == outcome(norm=True).weights
    start = averaged.history[0].keys()
    assert averaged.averages.keys() == start
    assert any(name.endswith("moving_mean") for name in start)
    for name, final in averaged.averages.items():
        # After the first update the average is all but the weights themselves.
        average = np.array(averaged.history[0][name])
        for number, weights in enumerate(averaged.history[1:], 2):
            decay = 0.5 * (1 - np.exp(-number / 2000))
            average = decay * average + (1 - decay) * np.array(weights[name])
        np.testing.assert_allclose(final, average, rtol=1e-3, atol=1e-6, err_msg=name)


def test_statistics_are_rank_0s_or_the_mean_over_ranks_as_asked(
    outcome: Run, attempts: Path
) -> None:
    def both(statistics: str) -> list[dict[str, list[float]]]:
        first = outcome(norm=True, devices__ranks=2, training__batch_statistics=statistics)
        other = Outcome.model_validate(read_json(sorted(attempts.glob("*/outcome-1.json"))[-1]))
        return [first.weights, other.weights]

    local, averaged = both("local"), both("averaged")
    for name in ("norm.moving_mean", "norm.moving_variance"):
        assert local[0][name] != local[1][name]
        assert averaged[0][name] == averaged[1][name]
        mean = np.mean([local[0][name], local[1][name]], axis=0)
        np.testing.assert_allclose(averaged[0][name], mean, rtol=1e-5, atol=1e-7)
    # Training itself uses each batch's own.
    assert averaged[0]["conv.weight"] == local[0]["conv.weight"]
