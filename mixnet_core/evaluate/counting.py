"""Exact counting: a prediction for every image by its position in the split, then sums over them.

Nothing is added up before all predictions are there: the same ones give the same figures to the
last bit, however many processes made them, in whatever batches and order.

Letters: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import IntegrityError, JobFailed
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.runs.values import Score

JUDGED = np.dtype(
    [
        ("position", np.int32),
        ("label", np.int32),
        ("answer", np.int32),
        ("place", np.int32),
        ("confidence", np.float64),
        ("loss", np.float64),
    ]
)
"""An image's row: its position in the split's index, its label, the class with the largest logit,
how many classes come before the label's, the softmax probability of the predicted class, and the
cross-entropy in nats."""

Judged = NDArray[np.void]


def judge(batch: BatchLogits, weights: str) -> Judged:
    """Compares a batch's logits with its labels.

    Where logits are equal, the class with the smaller index comes first.

    Args:
        weights: path of the file that the logits are of, for errors.

    Returns:
        (N,), a row per image.

    Raises:
        JobFailed: a logit is infinite or no number; not retryable.
    """
    logits, labels = batch.logits.astype(np.float64), batch.labels
    expect_finite(logits, batch.positions, weights)
    # Less the largest, or large logits overflow.
    shifted = logits - logits.max(axis=1, keepdims=True)
    sums = np.exp(shifted).sum(axis=1)
    rows = np.empty(len(labels), JUDGED)
    rows["position"] = batch.positions
    rows["label"] = labels
    rows["answer"] = logits.argmax(axis=1)
    rows["place"] = _places(logits, labels)
    rows["confidence"] = 1 / sums
    rows["loss"] = np.log(sums) - shifted[np.arange(len(labels)), labels]
    return rows


def merged(parts: Sequence[Judged], images: int) -> Judged:
    """Joins the rows of all batches and processes.

    Args:
        images: how many the split has.

    Returns:
        (images,), by position.

    Raises:
        IntegrityError: not each of the positions 0..images-1 is there exactly once.
    """
    rows = np.concatenate(parts) if parts else np.empty(0, JUDGED)
    rows = rows[np.argsort(rows["position"], kind="stable")]
    if not np.array_equal(rows["position"], np.arange(images)):
        raise IntegrityError(
            f"{len(rows)} images were scored, {len(np.unique(rows['position']))} of them "
            f"different, expected each of the split's {images} images once: report this, the "
            "figures cannot be trusted"
        )
    return rows


def score(rows: Judged) -> Score:
    """Returns the totals over rows, of which there is at least one."""
    return Score(
        count=len(rows),
        correct1=int((rows["place"] < 1).sum()),
        correct5=int((rows["place"] < 5).sum()),
        # Correctly rounded, so that it depends on no order.
        loss=math.fsum(rows["loss"]) / len(rows),
    )


def expect_finite(
    logits: NDArray[np.floating[Any]], positions: NDArray[np.integer[Any]], weights: str
) -> None:
    """Makes sure that every logit is a number.

    Args:
        logits: (N, C).
        positions: (N,), of the images, for errors.
        weights: path of the file that they are of, for errors.

    Raises:
        JobFailed: one is infinite or no number; not retryable.
    """
    # NaN compares as smaller than everything, so it would be counted as a wrong prediction.
    wrong = np.argwhere(~np.isfinite(logits))
    if len(wrong):
        image, label = wrong[0]
        raise JobFailed(
            f"{weights} gives image {positions[image]} the logit {logits[image, label]} for class "
            f"{label}, expected finite numbers: choose an earlier checkpoint, or train again with "
            "a lower schedule.lr",
            retryable=False,
        )


def _places(logits: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Returns how many classes come before the label's: (N,)."""
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
