"""Whether an exported file predicts as its release does, image by image.

Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixnet_core.evaluate.counting import Judged
from mixnet_core.runs.export_values import Differing

# Share of an image's largest logit. Runtimes add a float32 network's products in another order:
# 2e-5 was the most between onnxruntime and OpenVINO on images of noise, whose logits reach 350.
# What differs by more than five times that computes something else.
NEAR_TIE = 1e-4
# Of images with another top-1 so many are named; all are counted.
_NAMED = 20


class Compared(NamedTuple):
    """Says how an export's logits and predictions lie beside the release's.

    Attributes:
        differing: images with another top-1.
        near_ties: of these, how many an export decides by `NEAR_TIE` at most.
        beyond: the first of the others.
        margin: the largest of the near ties' margins, in logits.
        largest: difference of a logit to the reference's.
        apart: images of which a logit differs from the reference's by more than `NEAR_TIE`.
    """

    differing: int
    near_ties: int
    beyond: tuple[Differing, ...]
    margin: float
    largest: float
    apart: int


def compare(
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    released: NDArray[np.int32],
    images: Sequence[str],
    classes: Sequence[str],
) -> Compared:
    """Compares an export's logits with what the release predicted and with a reference's logits.

    Args:
        logits: (N, K), the export's.
        reference: (N, K), of an engine that reads the release's own weights.
        released: (N,), the release's predicted classes.
        images: N paths, for the list of what differs.
        classes: K names.
    """
    found = logits.argmax(axis=1)
    margins = NEAR_TIE * np.abs(reference).max(axis=1).astype(np.float64)
    rows = np.arange(len(found))
    # Of infinite logits both are no numbers, which no margin is above.
    with np.errstate(invalid="ignore"):
        gaps = logits[rows, found].astype(np.float64) - logits[rows, released]
        differences = np.abs(logits.astype(np.float64) - reference).max(axis=1)
    other = found != released
    near = other & (gaps <= margins)
    beyond = np.flatnonzero(other & ~near)
    return Compared(
        differing=int(other.sum()),
        near_ties=int(near.sum()),
        beyond=tuple(
            Differing(
                image=images[row],
                released=classes[released[row]],
                exported=classes[found[row]],
                gap=float(gaps[row]),
            )
            for row in beyond[:_NAMED]
        ),
        margin=float(margins.max()),
        largest=float(differences.max()),
        apart=int((~(differences <= margins)).sum()),
    )


def refusal(found: Compared, images: int) -> str:
    """Says in a line why a file is not the release's network; "" where it is.

    Args:
        images: how many were compared.
    """
    count = found.differing - found.near_ties
    if count:
        first = found.beyond[0]
        return (
            f"{count:,} of {images:,} images have another top-1 than the release's beyond near "
            f"ties ({NEAR_TIE:g} of an image's largest logit), the first is {first.image}: "
            f"{first.exported} instead of {first.released} by {first.gap:.3g}"
        )
    if found.apart:
        return (
            f"logits of {found.apart:,} of {images:,} images differ from the reference's by more "
            f"than rounding ({NEAR_TIE:g} of an image's largest logit), the most by "
            f"{found.largest:.3g}"
        )
    return ""


def released_predictions(rows: Judged | None, reference: NDArray[np.float32]) -> NDArray[np.int32]:
    """Returns (N,) the predicted classes: the release's own, else the reference's."""
    if rows is not None:
        return np.asarray(rows["answer"], np.int32)
    return np.asarray(reference.argmax(axis=1), np.int32)
