"""Which classes are told of an image, and with what probability."""

from __future__ import annotations

import numpy as np

from mixnet_core.evaluate.counting import judge
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.evaluate.prediction import best, names_of

LOGITS = (np.random.default_rng(3).normal(size=(50, 7)) * 4).astype(np.float32)


def test_the_first_class_is_the_one_that_is_counted_as_the_prediction() -> None:
    logits = LOGITS.copy()
    # Equal logits: the class with the smaller index comes first in both.
    logits[0] = 1
    logits[1] = [0, 5, 5, 1, 5, 0, 0]
    # Too large for float32's exponential.
    logits[2] = np.arange(7) * 1000
    zeros = np.zeros(50, np.int32)
    rows = judge(BatchLogits(logits, zeros, np.arange(50, dtype=np.int32)), "w")
    labels, probabilities = best(logits, 3)
    np.testing.assert_array_equal(labels[:, 0], rows["answer"])
    np.testing.assert_array_equal(probabilities[:, 0], rows["confidence"])
    assert labels[0].tolist() == [0, 1, 2]
    assert labels[1].tolist() == [1, 2, 4]


def test_probabilities_are_the_softmax_in_falling_order() -> None:
    labels, probabilities = best(LOGITS, 7)
    exact = np.exp(LOGITS.astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, np.take_along_axis(exact, labels, 1), rtol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (np.diff(probabilities, axis=1) <= 0).all()
    assert (np.sort(labels, axis=1) == np.arange(7)).all()


def test_classes_without_names_are_numbers() -> None:
    assert names_of(None, 3) == ("0", "1", "2")
    assert names_of(["a", "b"], 2) == ("a", "b")
