"""Generators that depend on numbers alone."""

from __future__ import annotations

from itertools import product

from mixnet_core.data.augment.randomness import batch_generator, image_generator


def test_equal_numbers_give_equal_draws() -> None:
    assert image_generator(1, 2, 3).random() == image_generator(1, 2, 3).random()
    assert batch_generator(1, 2, 3, 4, 5).random() == batch_generator(1, 2, 3, 4, 5).random()


def test_every_number_changes_the_draws() -> None:
    images = [image_generator(*numbers).random() for numbers in product(range(4), repeat=3)]
    batches = [batch_generator(*numbers).random() for numbers in product(range(3), repeat=5)]
    found = images + batches
    assert len(set(found)) == len(found) == 4**3 + 3**5
