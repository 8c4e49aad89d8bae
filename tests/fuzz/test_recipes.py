"""Recipes, whatever bytes are in the file: they load, or are refused in a line and a second."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import strategies as st

from mixnet_core.errors import InputError, RecipeError
from mixnet_core.recipe.lines import recipe_lines
from mixnet_core.recipe.recipe import Recipe, load_recipe, save_recipe
from mixnet_core.stages.options import adjusted_recipe, parse_settings
from tests.fuzz import recipes
from tests.fuzz.bounds import ended, expect_one_line, place, within
from tests.fuzz.searching import rule

SECONDS, MEGABYTES = 1.0, 300


@rule(few=150, content=recipes.files)
def test_a_file_is_a_recipe_or_is_refused_in_a_line_and_a_second(content: bytes) -> None:
    with place() as folder:
        file = folder / "recipe.yaml"
        file.write_bytes(content)
        with _bounded():
            loaded = ended(load_recipe, str(file))
        if loaded.error is not None:
            assert isinstance(loaded.error, RecipeError)
            expect_one_line(loaded.error)
            return
        _expect_the_same_again(loaded.value, folder)


@rule(few=200, items=recipes.settings, name=st.sampled_from(["digits", "mixnet_s", "finetune"]))
def test_settings_make_a_recipe_or_are_refused_in_a_line_and_a_second(
    items: list[str], name: str
) -> None:
    def adjusted() -> Recipe:
        return adjusted_recipe(name, settings=parse_settings(items))

    with _bounded():
        made = ended(adjusted)
    if made.error is not None:
        assert isinstance(made.error, InputError)
        expect_one_line(made.error)
        return
    with place() as folder:
        _expect_the_same_again(made.value, folder)


@rule(
    few=80,
    epochs=st.none() | st.integers(-1, 10**12),
    global_batch=st.none() | st.integers(-1, 10**12),
    lr=st.none() | st.floats(),
    ranks=st.none() | st.integers(-1, 10**6),
    scale_lr=st.booleans(),
)
def test_options_make_a_recipe_or_are_refused(**options: object) -> None:
    made = ended(adjusted_recipe, "digits", **options)
    if made.error is not None:
        assert isinstance(made.error, InputError)
        expect_one_line(made.error)
        return
    assert all(line.isprintable() for line in recipe_lines(made.value))
    with place() as folder:
        _expect_the_same_again(made.value, folder)


def _expect_the_same_again(recipe: Recipe, folder: Path) -> None:
    """Holds a recipe to what is read once it is written."""
    saved = folder / "saved.yaml"
    save_recipe(recipe, saved)
    again = load_recipe(str(saved))
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint


@contextmanager
def _bounded() -> Iterator[None]:
    with within(seconds=SECONDS, megabytes=MEGABYTES):
        yield


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What MindCV's files do not mean is warned of, thousands of times."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
