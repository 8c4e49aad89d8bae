from __future__ import annotations

import math

import numpy as np
import pytest

from mixnet_core.errors import StageFailed
from mixnet_core.evaluate.counting import Counts
from mixnet_core.values import Score


def counted(logits: object, labels: list[int], batch: int | None = None) -> Score:
    rows, wanted = np.array(logits, np.float32), np.array(labels, np.int32)
    counts = Counts("w.ckpt")
    for start in range(0, len(rows), batch or len(rows)):
        end = start + (batch or len(rows))
        counts.add(rows[start:end], wanted[start:end])
    return counts.score()


def naive(logits: np.ndarray, labels: list[int]) -> tuple[int, int, float]:
    """Sorted one image at a time, in Python's exact integers and double precision."""
    correct1 = correct5 = 0
    losses = []
    for row, label in zip(logits.tolist(), labels, strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        correct1 += order[0] == label
        correct5 += label in order[:5]
        losses.append(math.log(math.fsum(math.exp(x - row[label]) for x in row)))
    return correct1, correct5, math.fsum(losses) / len(losses)


@pytest.mark.parametrize("images", [1, 7, 64, 65, 131])
@pytest.mark.parametrize("classes", [2, 5, 6, 11])
def test_counts_equal_a_naive_count_whatever_the_batch(images: int, classes: int) -> None:
    random = np.random.RandomState(images * 100 + classes)
    # Rounded, so that many logits are equal.
    logits = random.randn(images, classes).round(1).astype(np.float32)
    labels = random.randint(0, classes, images).tolist()
    correct1, correct5, loss = naive(logits, labels)
    for batch in (1, 3, 64, images):
        score = counted(logits, labels, batch)
        assert (score.count, score.correct1, score.correct5) == (images, correct1, correct5)
        assert score.loss == pytest.approx(loss, rel=1e-12)


def test_of_equal_logits_the_smaller_class_comes_first() -> None:
    assert counted(np.zeros((7, 7)), list(range(7))).correct1 == 1
    assert counted(np.zeros((7, 7)), list(range(7))).correct5 == 5
    assert counted([[1, 3, 3]], [1]).correct1 == 1
    assert counted([[1, 3, 3]], [2]).correct1 == 0


def test_with_five_classes_or_fewer_every_image_is_among_the_first_five() -> None:
    assert counted(np.random.RandomState(0).randn(9, 5), [4] * 9).top5 == 1


def test_large_logits_do_not_overflow_the_loss() -> None:
    assert counted([[3e38, -3e38]], [0]).loss == 0
    assert counted([[1e6, 0.0]], [1]).loss == 1e6
    assert counted([[0.0, 0.0]], [1]).loss == pytest.approx(math.log(2), rel=1e-15)


def test_the_loss_is_summed_in_double_precision() -> None:
    logits = np.zeros((1, 2), np.float32)
    logits[0, 0] = 20
    # log(1 + e^-20), which is 0 in float32.
    assert counted(logits, [0]).loss == pytest.approx(math.log1p(math.exp(-20)), rel=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_named_and_trying_again_does_not_help(value: float) -> None:
    counts = Counts("w.ckpt")
    counts.add(np.zeros((3, 2), np.float32), np.zeros(3, np.int32))
    logits = np.zeros((2, 2), np.float32)
    logits[1, 1] = value
    with pytest.raises(StageFailed) as raised:
        counts.add(logits, np.zeros(2, np.int32))
    assert str(raised.value).startswith(f"w.ckpt gives image 4 the logit {value} for class 1")
    assert not raised.value.retryable
