from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.recipe.sections import Schedule
from mixnet_core.train.schedule import learning_rates


def schedule(**changes: float) -> Schedule:
    values = {"lr": 1.0, "min_lr": 0.1, "warmup_epochs": 2.0, "decay_epochs": 4.0}
    return Schedule(**(values | changes))


def test_rates_are_mindcvs_for_its_mixnet_s_recipe() -> None:
    # MindCV's own rates at chosen steps, written by MindCV.
    path = Path(__file__).parent / "data" / "mindcv_lr_mixnet_s.json"
    facts = json.loads(path.read_text())
    recipe = load_recipe(facts["recipe"])
    rates = learning_rates(
        recipe.schedule, steps_per_epoch=facts["steps_per_epoch"], epochs=recipe.training.epochs
    )
    assert len(rates) == facts["len"]
    for step, rate in facts["lr_at_step"].items():
        assert rates[int(step)] == pytest.approx(rate, rel=1e-9, abs=0)


def test_the_rate_rises_from_zero_falls_from_the_peak_and_stays_at_the_minimum() -> None:
    rates = learning_rates(schedule(), steps_per_epoch=5, epochs=8)
    assert rates[:11] == pytest.approx([step / 10 for step in range(11)])
    assert rates[20] == pytest.approx(0.55)
    assert all(earlier > later for earlier, later in pairwise(rates[10:31]))
    assert rates[30:] == [0.1] * 10


def test_a_run_shorter_than_its_schedule_is_cut_off() -> None:
    long = learning_rates(schedule(), steps_per_epoch=5, epochs=8)
    assert learning_rates(schedule(), steps_per_epoch=5, epochs=3) == long[:15]


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert learning_rates(schedule(warmup_epochs=0.0), steps_per_epoch=5, epochs=1)[0] == 1.0


def test_a_decay_of_less_than_half_a_step_is_at_the_minimum_at_once() -> None:
    rates = learning_rates(
        schedule(warmup_epochs=1.0, decay_epochs=0.09), steps_per_epoch=5, epochs=2
    )
    assert rates[5:] == [0.1] * 5


def test_fractions_of_epochs_are_whole_steps() -> None:
    rates = learning_rates(schedule(warmup_epochs=0.5), steps_per_epoch=6, epochs=1)
    assert rates[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_factor_scales_every_rate() -> None:
    plain = learning_rates(schedule(), steps_per_epoch=5, epochs=8)
    scaled = learning_rates(schedule(), steps_per_epoch=5, epochs=8, factor=0.25)
    assert scaled == pytest.approx([rate / 4 for rate in plain])
