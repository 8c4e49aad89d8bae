"""What exporting a release leaves: files, and the proof of each that it predicts as the release."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mixnet_core.runs.values import Score, Value

State = Literal["proven", "unproven", "refused"]


class ExportedFile(Value):
    """Describes a file of an export.

    Attributes:
        name: in the folder of the exports, with slashes.
        sha256: hex.
        bytes: its size.
    """

    name: str
    sha256: str
    bytes: int


class Differing(Value):
    """Describes an image that an export predicts otherwise, beyond a near tie.

    Attributes:
        image: its path, as the release's predictions name it.
        released, exported: the predicted classes' names.
        gap: the export's logit of its own class less that of the release's.
    """

    image: str
    released: str
    exported: str
    gap: float


class Quantised(Value):
    """Says what rounding to eight bits costs and gains beside the float32 form of the same format.

    Attributes:
        parent: the float32 format.
        calibrated_on: training images.
        lost, gained: images that only the parent, or only this one, predicts rightly.
        p: two-sided, of McNemar's exact test.
        most_drop: percentage points of top-1 that it may lose.
        speed_ratio: images per second over the parent's, both measured in turn in one process: the
            median of the pairs.
        speed_ratios: the least and the largest pair.
        kept_float: which layers stay in float32, in words.
    """

    parent: str
    calibrated_on: int
    lost: int
    gained: int
    p: float
    most_drop: float
    speed_ratio: float
    speed_ratios: tuple[float, float]
    kept_float: str


class ExportProof(Value):
    """Says of one format whether its files predict as the release does, and how that was found.

    Attributes:
        format: the name of `--to`.
        state: unproven: there were no images to predict; refused: no file of it is kept.
        reason: why it is refused or unproven, in a line; "" where it is proven.
        files: role -> file; empty where it is refused.
        runtime: what loaded it again: package, version, precision.
        images: how many were predicted.
        compared_with: whose predictions it was compared with.
        differing: images with another top-1 than the release's.
        near_ties: of these, how many are within `margin`.
        margin: how much more an export may give its own class than the release's, in logits.
        beyond: the first of the others.
        reference: the engine whose logits it was compared with.
        largest_difference: of a logit to that engine's; None where nothing was compared.
        images_per_second: of the runtime alone, images decoded already.
        score: what it reaches on these images.
        quantised: for eight bits.
    """

    format: str
    state: State
    reason: str = ""
    files: dict[str, ExportedFile] = Field(default_factory=dict)
    runtime: str = ""
    images: int = 0
    compared_with: str = ""
    differing: int = 0
    near_ties: int = 0
    margin: float = 0.0
    beyond: tuple[Differing, ...] = ()
    reference: str = ""
    largest_difference: float | None = None
    images_per_second: float | None = None
    score: Score | None = None
    quantised: Quantised | None = None

    @property
    def line(self) -> str:
        """Says all of it in a line."""
        if self.state != "proven":
            return f"{self.format} {self.state}: {self.reason}"
        said = (
            f"{self.format} proven: {self.images:,} images, {self.differing:,} with another top-1"
            f"{f' ({self.near_ties:,} near ties)' if self.near_ties else ''}, largest logit "
            f"difference {self.largest_difference:.2g}, {self.images_per_second:,.0f} img/s, "
            f"{self.runtime}"
        )
        return said if self.quantised is None else f"{said}; {quantised_line(self)}"


def quantised_line(proof: ExportProof) -> str:
    """Says what eight bits lose and gain."""
    found = proof.quantised
    assert found is not None
    points = 100 * (found.gained - found.lost) / proof.images
    return (
        f"top-1 {points:+.2f} points against {found.parent} ({found.gained:,} gained, "
        f"{found.lost:,} lost, McNemar's exact p = {found.p:.3g}), "
        f"{found.speed_ratio:.2f} times its speed ({found.speed_ratios[0]:.2f} to "
        f"{found.speed_ratios[1]:.2f}), calibrated on {found.calibrated_on:,} training images, "
        f"float32: {found.kept_float}"
    )


class Exported(Value):
    """Describes the exports of a release.

    Attributes:
        folder: absolute path that the files' names start from; "" where nothing was asked for.
        proofs: of every format that was asked for, refused ones too.
        proofs_sha256: hex, of `exports.json` in the folder; "" likewise.
    """

    folder: str
    proofs: tuple[ExportProof, ...]
    proofs_sha256: str = ""
    reused: bool = False
