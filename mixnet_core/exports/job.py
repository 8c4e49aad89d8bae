"""The job that writes one format and proves it: what `python -m mixnet_core.exports` does.

Letters: N images, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.index import read_index
from mixnet_core.errors import InputError, MachineError
from mixnet_core.evaluate.counting import Judged, judge, merged, score
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.evaluate.prediction_table import read_table
from mixnet_core.evaluate.statistics import mcnemar, pairing
from mixnet_core.exports.export_format import ExportFormat, Logits, Pixels, Runtime
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.exports.proof import NEAR_TIE, Compared, compare, refusal, released_predictions
from mixnet_core.exports.request import ExportRequest, ExportResult, Images
from mixnet_core.exports.speed import paired_speed
from mixnet_core.exports.val_images import BATCH, training_pixels, val_batches
from mixnet_core.processes.child import long_stretch
from mixnet_core.recipe.kinds import FORMATS
from mixnet_core.runs.export_values import ExportedFile, ExportProof, Quantised
from mixnet_core.storage.asides import held_aside
from mixnet_core.storage.files import sha256_of

# Of the images that a speed is measured on; they are in memory.
_SPEED_IMAGES = 512


class _Calibration:
    """Reads training images where a format asks for them, and keeps in mind how many there were."""

    def __init__(self, request: ExportRequest) -> None:
        self._request = request
        self.images = 0

    def __call__(self) -> Pixels:
        request = self._request
        if request.images is None:
            raise InputError(
                "eight bits are calibrated on training images, which are not here: give their "
                "folder (--data)"
            )
        found = training_pixels(
            request.images.dataset,
            request.item.recipe,
            request.calibration_images,
            threads=request.threads,
        )
        self.images = len(found)
        return found


class _Answers:
    """Collects what a runtime answers of the val split.

    Attributes:
        logits: (N, K), filled batch by batch.
        seconds: in the runtime alone.
    """

    def __init__(self, runtime: Runtime, images: int, classes: int) -> None:
        self.runtime = runtime
        self.logits = np.empty((images, classes), np.float32)
        self.seconds = 0.0

    def take(self, pixels: Pixels, positions: NDArray[np.int32]) -> None:
        """Computes the logits of some images."""
        if not self.seconds:
            # The first call allocates and, in some runtimes, compiles.
            self.runtime.logits(pixels)
        began = time.perf_counter()
        found = self.runtime.logits(pixels)
        self.seconds += time.perf_counter() - began
        if found.shape != (len(pixels), self.logits.shape[1]):
            raise MachineError(
                f"{self.runtime.name} gives {found.shape} logits for {len(pixels)} images, "
                f"expected {(len(pixels), self.logits.shape[1])}"
            )
        self.logits[positions] = found


def export(request: ExportRequest) -> ExportResult:
    """Writes a format's files and proves them.

    Raises:
        InputError: there is no such form of this network, or no training images to calibrate on.
        MixnetError: as the format, the runtimes and reading images raise it.
    """
    kind: ExportFormat = FORMATS.load(request.format)
    item, folder = request.item, Path(request.folder)
    calibration = _Calibration(request)
    with long_stretch():
        kind.write(item, folder, calibration)
    runtime = kind.open(item, folder, threads=request.threads)
    proof = ExportProof(
        format=request.format,
        state="unproven",
        reason="not proven: images are not here",
        files=_described(kind, folder),
        runtime=runtime.name,
    )
    if wrong := _wrongly_said(runtime, item):
        reason = f"what it says of {', '.join(wrong)} is not what the release says"
        return ExportResult(proof=proof.model_copy(update={"state": "refused", "reason": reason}))
    if request.images is None:
        _try_out(runtime, request)
        return ExportResult(proof=proof)
    if kind.parent is None:
        return ExportResult(proof=_proven(proof, runtime, request))
    return ExportResult(proof=_quantised(proof, kind, runtime, request, calibration.images))


def _wrongly_said(runtime: Runtime, item: Exportable) -> list[str]:
    """Returns what a file says otherwise: no logits show the order of its classes."""
    if runtime.said is None:
        return []
    found = runtime.said
    return [key for key, text in metadata_of(item).items() if found.get(key) != text]


def _proven(proof: ExportProof, runtime: Runtime, request: ExportRequest) -> ExportProof:
    """Proves a format that computes as the release does, but for rounding."""
    images = request.images
    assert images is not None
    (answers,) = _answered([runtime], request)
    # First: it says which image's logits are no numbers.
    rows = _rows(answers.logits, images)
    paths = read_index(Path(images.dataset), "val").paths
    reference = np.load(request.reference, allow_pickle=False, mmap_mode="r")
    released = released_predictions(_released(images), reference)
    found = compare(answers.logits, reference, released, paths, images.classes)
    reason = refusal(found, len(paths))
    speed = len(paths) / answers.seconds
    return _judged(proof, request, found, rows, reason=reason, images_per_second=speed)


def _quantised(
    proof: ExportProof,
    kind: ExportFormat,
    runtime: Runtime,
    request: ExportRequest,
    calibrated: int,
) -> ExportProof:
    """Judges eight bits beside their float32 parent, which is written for that and dropped.

    Args:
        calibrated: on so many training images.
    """
    assert kind.parent is not None
    images, parent = request.images, FORMATS.load(kind.parent)
    assert images is not None
    with held_aside(Path(request.folder)) as aside:
        with long_stretch():
            parent.write(request.item, aside.path, _Calibration(request))
        before = parent.open(request.item, aside.path, threads=request.threads)
        theirs, ours = _answered([before, runtime], request)
        sample = next(iter(_some_pixels(request)))
        with long_stretch():
            speed = paired_speed(before, runtime, sample)
    rows = _rows(ours.logits, images)
    reference = np.load(request.reference, allow_pickle=False, mmap_mode="r")
    paths = read_index(Path(images.dataset), "val").paths
    released = released_predictions(_released(images), reference)
    found = compare(ours.logits, reference, released, paths, images.classes)
    wrong = refusal(compare(theirs.logits, reference, released, paths, images.classes), len(paths))
    pair = pairing(_rows(theirs.logits, images)["place"] == 0, rows["place"] == 0)
    quantised = Quantised(
        parent=kind.parent,
        calibrated_on=calibrated,
        lost=pair.lost,
        gained=pair.gained,
        p=mcnemar(pair),
        most_drop=request.most_drop,
        speed_ratio=speed.ratio,
        speed_ratios=speed.range,
        kept_float=kind.kept_float,
    )
    # What is as good as a file that is not the release is not the release either.
    reason = f"{kind.parent}, which it is judged against, is refused: {wrong}" if wrong else ""
    if not wrong and -100 * pair.difference > request.most_drop:
        reason = (
            f"top-1 {100 * pair.difference:+.2f} points against {kind.parent} on the same "
            f"{pair.count:,} images ({pair.gained:,} gained, {pair.lost:,} lost, McNemar's exact "
            f"p = {quantised.p:.3g}), more than the allowed {request.most_drop:.2f}"
        )
    return _judged(
        proof,
        request,
        found,
        rows,
        reason=reason,
        images_per_second=speed.images_per_second,
        quantised=quantised,
    )


def _judged(
    proof: ExportProof,
    request: ExportRequest,
    found: Compared,
    rows: Judged,
    *,
    reason: str,
    images_per_second: float,
    quantised: Quantised | None = None,
) -> ExportProof:
    """Returns the proof of a format that predicted the val images.

    Args:
        found: what its predictions differ in.
        rows: (N,), its predictions.
        reason: why it is refused; "": it is proven.
    """
    assert request.images is not None
    return proof.model_copy(
        update={
            "state": "refused" if reason else "proven",
            "reason": reason,
            "images": len(rows),
            "compared_with": _compared_with(request.images),
            "differing": found.differing,
            "near_ties": found.near_ties,
            # That eight bits predict otherwise is what is measured, and no list of faults.
            "beyond": () if quantised else found.beyond,
            "margin": NEAR_TIE,
            "reference": request.engine,
            "largest_difference": found.largest,
            "images_per_second": images_per_second,
            "score": score(rows),
            "quantised": quantised,
        }
    )


def _answered(runtimes: Sequence[Runtime], request: ExportRequest) -> list[_Answers]:
    """Has each runtime predict the val split, of which each image is decoded once."""
    images, recipe = request.images, request.item.recipe
    assert images is not None
    count = len(read_index(Path(images.dataset), "val").paths)
    answers = [_Answers(runtime, count, request.item.width) for runtime in runtimes]
    for batch in val_batches(
        images.dataset, recipe, threads=request.threads, progress=request.progress
    ):
        for each in answers:
            each.take(batch.images, batch.positions)
    return answers


def _some_pixels(request: ExportRequest) -> Sequence[Pixels]:
    """Returns val images, the same ones again where there are few."""
    assert request.images is not None
    batches = val_batches(
        request.images.dataset,
        request.item.recipe,
        threads=request.threads,
        progress=request.progress,
    )
    first = next(iter(batches)).images
    return [np.concatenate([first] * -(-_SPEED_IMAGES // len(first)))[:_SPEED_IMAGES]]


def _try_out(runtime: Runtime, request: ExportRequest) -> None:
    """Makes sure that a file which cannot be proven computes at all, one image and several."""
    given, network = request.item.recipe.input, request.item.recipe.network
    shape = (given.image_size, given.image_size, network.in_channels)
    answers = _Answers(runtime, 2, request.item.width)
    for count in (1, 2):
        answers.take(np.zeros((count, *shape), np.uint8), np.arange(count, dtype=np.int32))


def _released(images: Images) -> Judged | None:
    if images.answers is None:
        return None
    return read_table(Path(images.answers), images.classes).rows


def _compared_with(images: Images) -> str:
    return "the release's predictions" if images.answers else "the reference's predictions"


def _rows(logits: Logits, images: Images) -> Judged:
    """Judges logits by the images' labels, which a dataset may have in another order."""
    labels = read_index(Path(images.dataset), "val").labels
    if images.labels is not None:
        labels = np.asarray(images.labels, np.int32)[labels]
    positions = np.arange(len(labels), dtype=np.int32)
    parts = [
        judge(
            BatchLogits(
                logits[start : start + BATCH],
                labels[start : start + BATCH],
                positions[start : start + BATCH],
            ),
            "the export",
        )
        for start in range(0, len(labels), BATCH)
    ]
    return merged(parts, len(labels))


def _described(kind: ExportFormat, folder: Path) -> dict[str, ExportedFile]:
    return {
        role: ExportedFile(name=name, sha256=sha256_of(folder / name), bytes=_size(folder / name))
        for role, name in kind.files.items()
    }


def _size(path: Path) -> int:
    return path.stat().st_size
