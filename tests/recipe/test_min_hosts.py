"""With how many of its hosts a recipe may train, and what each rank does then."""

from __future__ import annotations

from typing import Any

import pytest

from mixnet_core.errors import RecipeError
from mixnet_core.recipe.recipe import Recipe, load_recipe, parse_recipe


def recipe(**settings: Any) -> Recipe:
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    four = {"devices.hosts": 4, "devices.ranks": 2, "training.global_batch": 48}
    return load_recipe("digits", four | changes)


def test_without_min_hosts_it_is_all_or_none() -> None:
    assert recipe().host_counts == (4,)


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({"devices__min_hosts": 1}, (1, 2, 3, 4)),
        ({"devices__min_hosts": 3}, (3, 4)),
        ({"devices__min_hosts": 4}, (4,)),
        # Three hosts have six ranks.
        ({"devices__min_hosts": 1, "training__global_batch": 32}, (1, 2, 4)),
        ({"devices__min_hosts": 1, "training__virtual_ranks": 16}, (1, 2, 4)),
    ],
)
def test_the_global_batch_and_virtual_ranks_say_with_how_many(
    settings: dict[str, Any], counts: tuple[int, ...]
) -> None:
    assert recipe(**settings).host_counts == counts


def test_fewer_hosts_train_the_same_global_batch_and_no_more_at_once() -> None:
    full = recipe(devices__min_hosts=1)
    assert full.on_hosts(4) is full
    for count, accumulated in ((1, 4), (2, 2)):
        fewer = full.on_hosts(count)
        assert (fewer.ranks, fewer.accumulation) == (2 * count, accumulated)
        assert fewer.rank_batch // fewer.accumulation == full.rank_batch
        # What ranks are given is read anew, and judged.
        assert parse_recipe(fewer.model_dump(mode="json"), "a request") == fewer
        assert fewer.fingerprint == full.fingerprint


def test_with_virtual_ranks_a_step_stays_as_it_is() -> None:
    full = recipe(devices__min_hosts=1, training__virtual_ranks=8)
    one = full.on_hosts(1)
    assert (one.shares, one.accumulation, one.ranks) == (8, 4, 2)
    assert one.devices.micro_batch is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"devices__min_hosts": 3, "training__global_batch": 32},
            "devices.min_hosts 3 of devices.hosts 4: training.global_batch 32 can be divided by "
            "devices.ranks 2 x 1, 2 or 4 hosts: name one of those, or null",
        ),
        (
            {"devices__min_hosts": 3, "training__virtual_ranks": 16},
            "training.global_batch 48 and training.virtual_ranks 16 can be divided by",
        ),
        ({"devices__min_hosts": 5}, "devices.min_hosts 5 of devices.hosts 4"),
        ({"devices__min_hosts": 0}, "devices.min_hosts"),
    ],
)
def test_another_number_is_refused_in_a_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        recipe(**settings)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_number_that_nobody_counts_to_is_refused_at_once() -> None:
    many = {"devices.hosts": 10**12, "devices.min_hosts": 1, "training.global_batch": 10**12}
    with pytest.raises(RecipeError, match=r"devices.hosts: input should be less than or equal to"):
        load_recipe("digits", many)
