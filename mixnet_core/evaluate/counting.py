"""Exact counting of top-1, top-5 and cross-entropy: sums over images, divided once at the end.

Letters: N images a batch, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import StageFailed
from mixnet_core.values import Score


class Counts:
    """Adds up one checkpoint's batches; `weights` is named in errors."""

    def __init__(self, weights: str) -> None:
        self._weights = weights
        self._count = 0
        self._correct1 = 0
        self._correct5 = 0
        self._loss = 0.0

    def add(self, logits: NDArray[np.float32], labels: NDArray[np.int32]) -> None:
        """Counts a batch. Of equal logits the class with the smaller index comes first.

        Args:
            logits: (N, C), without padding.
            labels: (N,), each in 0..C-1.

        Raises:
            StageFailed: a logit is infinite or no number; not retryable.
        """
        exact = logits.astype(np.float64)
        self._expect_finite(exact)
        ranks = _ranks(exact, labels)
        self._count += len(labels)
        self._correct1 += int((ranks < 1).sum())
        self._correct5 += int((ranks < 5).sum())
        self._loss += float(_cross_entropies(exact, labels).sum())

    def score(self) -> Score:
        """The totals so far, of at least one image."""
        return Score(
            count=self._count,
            correct1=self._correct1,
            correct5=self._correct5,
            loss=self._loss / self._count,
        )

    def _expect_finite(self, logits: NDArray[np.float64]) -> None:
        # NaN compares as smaller than everything, so it would be counted as a wrong answer.
        wrong = np.argwhere(~np.isfinite(logits))
        if len(wrong):
            image, label = wrong[0]
            raise StageFailed(
                f"{self._weights} gives image {self._count + image} the logit "
                f"{logits[image, label]} for class {label}, expected finite numbers: "
                "choose an earlier checkpoint, or train again with a lower schedule.lr",
                retryable=False,
            )


def _ranks(logits: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """(N,): how many classes come before the label's."""
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)


def _cross_entropies(logits: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """(N,) in nats: log of the sum of exponentials, less the label's logit."""
    # Less the largest, or large logits overflow.
    shifted = logits - logits.max(axis=1, keepdims=True)
    own = shifted[np.arange(len(labels)), labels]
    return np.log(np.exp(shifted).sum(axis=1)) - own
