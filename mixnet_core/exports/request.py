"""What the jobs of an export are given and return."""

from __future__ import annotations

from mixnet_core.exports.exportable import Exportable
from mixnet_core.runs.export_values import ExportProof
from mixnet_core.runs.values import Value


class Images(Value):
    """Says which images a proof is on.

    Attributes:
        dataset: root of a prepared dataset, whose val split is predicted.
        classes: the release's, in label order.
        labels: the release's label for each of the dataset's; None: they are the same.
        answers: path of the release's own predictions of these images, in their order; None: it
            has none.
    """

    dataset: str
    classes: tuple[str, ...]
    labels: tuple[int, ...] | None = None
    answers: str | None = None


class ReferenceRequest(Value):
    """Holds what `python -m mixnet_core.exports.reference` is given.

    Attributes:
        target: path of the `.npy` that gets the logits of all val images, (N, K) float32.
        progress: path of a JSON-lines file; a row is {"done", "total"} images.
    """

    item: Exportable
    images: Images
    target: str
    threads: int
    progress: str


class ReferenceResult(Value):
    """Holds who computed the reference: package, version, device, precision."""

    engine: str


class ExportRequest(Value):
    """Holds what `python -m mixnet_core.exports` is given.

    Attributes:
        format: which one is written and proven.
        folder: where its files go; what is refused is left there, and not taken by the caller.
        images: what it is proven on; None: nothing, it is written only.
        reference: path of the reference's logits; "" without images.
        engine: who computed them.
        most_drop: percentage points of top-1 that eight bits may lose.
        calibration_images: training images that eight bits are calibrated on.
        progress: as `ReferenceRequest`.
    """

    item: Exportable
    format: str
    folder: str
    images: Images | None
    reference: str
    engine: str
    threads: int
    most_drop: float
    calibration_images: int
    progress: str


class ExportResult(Value):
    """Holds the proof, without digests of files where it was refused."""

    proof: ExportProof
