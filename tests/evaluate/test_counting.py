from __future__ import annotations

import math

import numpy as np
import pytest

from mixnet_core.errors import IntegrityError, JobFailed
from mixnet_core.evaluate.counting import JUDGED, Judged, judge, merged, score
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.runs.values import Score


def judged(logits: object, labels: list[int], first: int = 0) -> Judged:
    rows, wanted = np.array(logits, np.float32), np.array(labels, np.int32)
    positions = np.arange(first, first + len(rows), dtype=np.int32)
    return judge(BatchLogits(rows, wanted, positions), "w.ckpt")


def counted(logits: object, labels: list[int]) -> Score:
    return score(merged([judged(logits, labels)], len(labels)))


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
def test_counts_equal_a_naive_count_whatever_the_batch_and_order(images: int, classes: int) -> None:
    random = np.random.RandomState(images * 100 + classes)
    # Rounded, so that many logits are equal.
    logits = random.randn(images, classes).round(1).astype(np.float32)
    labels = random.randint(0, classes, images).tolist()
    correct1, correct5, loss = naive(logits, labels)
    found = set()
    for batch in (1, 3, 64, images):
        parts = [
            judged(logits[start : start + batch], labels[start : start + batch], start)
            for start in range(0, images, batch)
        ]
        random.shuffle(parts)
        found.add(score(merged(parts, images)))
    (only,) = found
    assert (only.count, only.correct1, only.correct5) == (images, correct1, correct5)
    assert only.loss == pytest.approx(loss, rel=1e-12)


def test_a_row_names_the_predicted_class_and_how_sure_it_is() -> None:
    (row,) = judged([[0.0, math.log(3), 0.0]], [2], first=7)
    assert (row["position"], row["label"], row["answer"], row["place"]) == (7, 2, 1, 2)
    assert row["confidence"] == pytest.approx(0.6)
    assert row["loss"] == pytest.approx(math.log(5))


@pytest.mark.parametrize("seen", [[], [0, 1], [0, 1, 1], [0, 1, 2, 3], [0, 1, 3], [0, 0, 1, 2]])
def test_positions_other_than_each_once_are_refused(seen: list[int]) -> None:
    assert merged([np.zeros(0, JUDGED), *(judged([[0.0]], [0], i) for i in (2, 0, 1))], 3).size == 3
    with pytest.raises(IntegrityError, match="expected each of the split's 3 images once"):
        merged([judged([[0.0]], [0], position) for position in seen], 3)


def test_no_batches_are_the_rows_of_no_images() -> None:
    assert merged([], 0).size == 0


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
    logits = np.zeros((2, 2), np.float32)
    logits[1, 1] = value
    with pytest.raises(JobFailed) as raised:
        judged(logits, [0, 0], first=3)
    assert str(raised.value).startswith(f"w.ckpt gives image 4 the logit {value} for class 1")
    assert not raised.value.retryable
