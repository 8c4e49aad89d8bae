"""Virtual ranks in a recipe: what they divide, what is refused, what is said."""

from __future__ import annotations

from typing import Any

import pytest

from mixnet_core.errors import RecipeError
from mixnet_core.recipe.lines import recipe_lines
from mixnet_core.recipe.recipe import Recipe, load_recipe


def recipe(**settings: Any) -> Recipe:
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return load_recipe("digits", {"training.global_batch": 24, **changes})


def test_without_them_a_run_is_known_by_the_fingerprint_that_it_had() -> None:
    assert recipe(training__virtual_ranks=None).fingerprint == recipe().fingerprint
    assert recipe().shares == recipe().devices.ranks
    assert recipe().fixed_threads is None


def test_a_run_is_known_by_them_and_not_by_its_ranks() -> None:
    one, two = (recipe(training__virtual_ranks=12, devices__ranks=ranks) for ranks in (1, 2))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != recipe(training__virtual_ranks=6).fingerprint
    assert one.fingerprint != recipe().fingerprint


def test_a_rank_accumulates_its_share_of_them_and_draws_for_each() -> None:
    three = recipe(training__virtual_ranks=12, devices__ranks=3)
    assert (three.accumulation, three.rank_batch // three.accumulation) == (4, 2)
    drawn_for = [three.drawn_for(rank, number) for rank in range(3) for number in range(4)]
    assert drawn_for == [(virtual, 0) for virtual in range(12)]
    plain = recipe(devices__ranks=3, devices__micro_batch=2)
    assert plain.drawn_for(2, 1) == (2, 1)


def test_sums_are_cut_among_a_number_of_threads_that_no_machine_decides() -> None:
    settings: dict[str, Any] = {"training__virtual_ranks": 4}
    assert recipe(**settings, devices__threads_per_rank=0).fixed_threads == 1
    assert recipe(**settings, devices__threads_per_rank=2).fixed_threads == 2
    ascend = recipe(**settings, devices__target="Ascend", devices__engine="mindspore")
    assert ascend.fixed_threads is None


def test_it_is_said_how_the_batch_comes_about() -> None:
    two = recipe(training__virtual_ranks=4, devices__ranks=2)
    assert "global batch 24 = 4 virtual ranks x 6 on 2 ranks, learning rate" in two.batch_sentence
    one = recipe(training__virtual_ranks=4, devices__ranks=1)
    assert "4 virtual ranks x 6 on 1 rank," in one.batch_sentence
    assert any("BatchNorm statistics" in line for line in recipe_lines(one))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"training__virtual_ranks": 5},
            "training.global_batch 24 is not divisible by training.virtual_ranks 5",
        ),
        (
            {"training__virtual_ranks": 6, "devices__ranks": 4},
            "training.virtual_ranks 6 is not divisible by devices.ranks 4: run it on 1, 2, 3 or 6 "
            "ranks",
        ),
        (
            {"training__virtual_ranks": 6, "devices__hosts": 2, "devices__ranks": 2},
            "training.virtual_ranks 6 is not divisible by devices.hosts 2 x devices.ranks 2: run "
            "it on 1, 2, 3 or 6 ranks",
        ),
        (
            {"training__virtual_ranks": 1, "devices__ranks": 2},
            "training.virtual_ranks 1 is not divisible by devices.ranks 2: run it on 1 ranks",
        ),
        (
            {"training__virtual_ranks": 2, "devices__micro_batch": 8},
            "training.virtual_ranks 2 makes micro-batches of 12, devices.micro_batch allows 8",
        ),
        ({"training__virtual_ranks": 0}, "virtual_ranks"),
    ],
)
def test_what_does_not_divide_is_refused_in_a_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        recipe(**{"devices__ranks": 1, **settings})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
