"""Whether images are for a recipe, told before one of them is read."""

from __future__ import annotations

from mixnet_core.data.batches import steps_per_epoch
from mixnet_core.data.prepare import expect_class_count
from mixnet_core.recipe.recipe import Recipe


def expect_fit(recipe: Recipe, classes: int, images: int) -> None:
    """Makes sure that so many classes and training images are for a recipe.

    Raises:
        DatasetError: the recipe is for another number of classes.
        RecipeError: there are fewer images than in a global batch.
    """
    expect_class_count(classes, recipe.network.num_classes)
    steps_per_epoch(images, recipe)
