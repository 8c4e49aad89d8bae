from __future__ import annotations

from typing import Any

import pytest

from mixnet_core.errors import InputError, RecipeError
from mixnet_core.recipe.choices import Selection
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import Candidate, Checkpoint, Score
from mixnet_core.stages.policy import choose, members, rule


def candidate(
    step: int,
    right: int,
    loss: float = 1.0,
    *,
    file: str = "weights.ckpt",
    of: tuple[int, ...] = (),
) -> Candidate:
    checkpoint = Checkpoint(
        path=f"/run/step-{step}",
        step=step,
        epoch=step // 10,
        weights_sha256="0" * 64,
        file=file,
        mean_of=of,
    )
    score = Score(count=100, correct1=right, correct5=100, loss=loss)
    return Candidate(checkpoint=checkpoint, score=score)


# Ordered as training leaves them: of each epoch the weights, then their averages.
EVERY = (
    candidate(10, 70),
    candidate(10, 71, file="ema.ckpt"),
    candidate(20, 90),
    candidate(20, 95, file="ema.ckpt"),
    candidate(30, 80),
    candidate(30, 93, file="ema.ckpt"),
)


def chosen(policy: str, every: tuple[Candidate, ...] = EVERY) -> tuple[int, str]:
    found = choose(Selection(policy=policy), every)  # type: ignore[arg-type]
    return found.step, found.file


def steps(policy: str, mean_of: int) -> list[int]:
    selection = Selection(policy=policy, mean_of=mean_of)  # type: ignore[arg-type]
    return [checkpoint.step for checkpoint in members(selection, EVERY)]


def test_best_is_the_most_correct_moving_averages_included() -> None:
    assert chosen("best") == (20, "ema.ckpt")


def test_of_equals_the_lower_loss_wins_then_the_later_step() -> None:
    assert chosen("best", (candidate(10, 90, 0.5), candidate(20, 90, 0.6))) == (10, "weights.ckpt")
    assert chosen("best", (candidate(10, 90), candidate(20, 90)))[0] == 20


def test_last_and_ema_look_at_no_figure() -> None:
    assert chosen("last") == (30, "weights.ckpt")
    assert chosen("ema") == (30, "ema.ckpt")


def test_ema_without_moving_averages_is_refused() -> None:
    with pytest.raises(InputError, match="no checkpoint has moving averages"):
        choose(Selection(policy="ema"), (candidate(10, 70),))
    with pytest.raises(RecipeError, match=r"training\.ema_decay null"):
        load_recipe("digits", {"selection.policy": "ema"})
    recipe = load_recipe("digits", {"selection.policy": "ema", "training.ema_decay": 0.99})
    assert recipe.selection.policy == "ema"


def test_a_mean_takes_weights_only_the_oldest_first() -> None:
    assert steps("mean_last", 2) == [20, 30]
    assert steps("mean_best", 2) == [20, 30]
    assert steps("mean_best", 1) == [20]
    assert steps("mean_last", 9) == [10, 20, 30]
    assert steps("best", 2) == steps("last", 2) == steps("ema", 2) == []


def test_a_mean_never_takes_moving_averages_even_where_they_are_the_best() -> None:
    files = {
        checkpoint.file
        for policy in ("mean_best", "mean_last")
        for checkpoint in members(Selection(policy=policy, mean_of=9), EVERY)  # type: ignore[arg-type]
    }
    assert files == {"weights.ckpt"}


def test_of_a_mean_the_mean_is_chosen_whatever_it_reached() -> None:
    mean = candidate(30, 1, of=(20, 30))
    assert choose(Selection(policy="mean_last"), (*EVERY, mean)) == mean.checkpoint
    assert mean.checkpoint.kind == "mean of 2"


def test_every_policy_states_its_rule() -> None:
    rules = {
        rule(Selection(policy=policy), 3)
        for policy in ("best", "last", "ema", "mean_best", "mean_last")
    }
    assert len(rules) == 5
    assert "the mean of the 3 checkpoints with the highest top-1" in rule(
        Selection(policy="mean_best"), 3
    )


def test_a_means_rule_says_what_became_of_the_batchnorm_statistics() -> None:
    selection = Selection(policy="mean_last")
    assert rule(selection, 3).endswith("BatchNorm statistics estimated anew")
    assert rule(selection, 3, frozen=True).endswith(
        "BatchNorm statistics kept, as they were frozen"
    )


@pytest.mark.parametrize(
    ("changes", "scored"),
    [
        ({}, True),
        ({"training.keep_checkpoints": 600}, False),
        ({"training.checkpoint_every_epochs": 60}, False),
        ({"selection.policy": "last"}, False),
        ({"selection.policy": "mean_last"}, False),
        ({"selection.policy": "mean_best"}, True),
        ({"selection.policy": "last", "selection.score_in_training": "always"}, True),
        ({"selection.score_in_training": "never"}, False),
    ],
)
def test_checkpoints_are_scored_in_training_where_some_must_go_before_the_end(
    changes: dict[str, Any], scored: bool
) -> None:
    recipe = load_recipe("mixnet_s", {"data.path": "/imagenet", **changes})
    assert recipe.scores_in_training is scored


def test_another_policy_or_threshold_is_the_same_run() -> None:
    plain = load_recipe("digits")
    other = load_recipe("digits", {"selection.policy": "last", "acceptance.min_top1": 0.9})
    assert other.fingerprint == plain.fingerprint
    assert load_recipe("digits", {"training.seed": 1}).fingerprint != plain.fingerprint


def test_thresholds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"min_top1 0\.9 exceeds acceptance\.min_top5 0\.8"):
        load_recipe("digits", {"acceptance.min_top1": 0.9, "acceptance.min_top5": 0.8})


@pytest.mark.parametrize("policy", ["mean_best", "mean_last"])
def test_the_mean_is_the_last_of_the_candidates_whatever_it_reaches(policy: str) -> None:
    mean = candidate(30, 1, of=(10, 20, 30))
    assert choose(Selection(policy=policy), [*EVERY, mean]) == mean.checkpoint
