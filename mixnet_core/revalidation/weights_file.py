"""Any checkpoint on any images: what `mixnet evaluate` does, without a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mixnet_core.data.class_names import ambiguous_order
from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_val
from mixnet_core.errors import DatasetError
from mixnet_core.evaluate.job import BATCH, Measured, measure
from mixnet_core.evaluate.measured_on import measured_on
from mixnet_core.evaluate.prediction_table import PredictionTable, write_table
from mixnet_core.evaluate.report.data import versions
from mixnet_core.evaluate.report.findings import calibration, score_data
from mixnet_core.evaluate.report.view import measured_view
from mixnet_core.evaluate.report.write import write_page
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.release.catalog import entry_of, load_catalog
from mixnet_core.release.weights import fetch_release_weights
from mixnet_core.revalidation.seen import seen_by
from mixnet_core.revalidation.states import judged_claims
from mixnet_core.runs.markup import literal
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Tick, Watch, fetching_ticks, unwatched
from mixnet_core.runs.values import Evaluation, MeasuredOn, PreparedDataset, seen_line
from mixnet_core.stages.file_to_measure import FileToMeasure, look_at, recipe_of
from mixnet_core.stages.labels import Labels, labels_of
from mixnet_core.stages.release_to_measure import read_as
from mixnet_core.storage.files import expect_targets
from mixnet_core.storage.uris import refuse_credentials

STAGE = "evaluate"


def evaluate_file(
    file: Path,
    *,
    workspace: Workspace,
    data: str,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    classes: Path | None = None,
    workers: int | None = None,
    batch: int = BATCH,
    predictions: Path | None = None,
    page: Path | None = None,
    ema: bool = False,
    watch: Watch = unwatched,
) -> Evaluation:
    """Measures a file of weights on a folder's val split; no training image is read.

    Args:
        file: `.ckpt`, `.safetensors` or `.pth` under MindCV's names or timm's, or `.onnx`; or the
            name of a catalog entry, whose weights are fetched.
        data: folder with val/, or with what val/ would hold.
        recipe: how images are read, and whose conventions the weights follow. None: that of the
            release or run that the file lies in (`release.origin`), else that of the variant that
            shows in the file's shapes (`file_to_measure.recipe_of`); on a CPU.
        settings: dotted key -> value over that.
        classes: file with the names that the weights were trained for, one a line in label order.
            None: those of their release or run; ImageNet's for 1,000 of unknown names.
        workers, batch: as `evaluate.job.measure`.
        predictions: file to write the prediction for every image to.
        page: file to write the report to.
        ema: measure the moving averages in the file, not the weights beside them.

    Returns:
        The figures, and how the images were read for them.

    Raises:
        InputError: there is no such file, it is of no known kind, it holds no averages, or it is
            of a release whose recipe is neither beside it nor given; what is to be written is a
            folder, or a file that is read.
        IntegrityError: it lies in a release that states another digest.
        CheckpointMismatch: it is no MixNet's.
        DatasetError: it is of other classes than the images, or which label a class has cannot be
            told; the folder has training images only.
        MixnetError: as `prepare_val` and `evaluate.job.measure`.
    """
    refuse_credentials(str(file), data, recipe, str(predictions), str(page), str(classes))
    expect_targets((predictions, page), kept=(file, classes))
    entry = None if file.is_file() else load_catalog().get(str(file))
    if entry is not None:
        file = Path(fetch_release_weights(entry, cache=workspace.weights).path)
    checkpoint = look_at(file, workspace, ema=ema, entry=entry)
    chosen = recipe_of(checkpoint, recipe, data=data, settings=settings)
    of = checkpoint.origin.name if checkpoint.origin and recipe is None else None
    said = read_as(chosen, of, given=recipe is not None)
    number = checkpoint.network.num_classes
    known = Labels(checkpoint.told.classes, checkpoint.told.who)
    labels = labels_of(file, number, checkpoint.origin, classes, known)
    # What can fail does so before the measurement, which would be thrown away.
    seen, claims = seen_by(checkpoint.origin, file), _claims(checkpoint)
    dataset = _dataset(checkpoint, chosen, workspace, labels, watch)
    measured = measure(
        chosen,
        dataset,
        [file.absolute()],
        split="val",
        stage=STAGE,
        attempts=checkpoint.folder / "attempts",
        workers=workers,
        batch=batch,
        ema=ema,
        watch=watch,
    )
    table = PredictionTable(read_index(Path(dataset.root), "val").paths, measured.predictions[0])
    on = measured_on(chosen.data, dataset, measured.predictions[0], seen)
    found = _evaluation(checkpoint, dataset, measured, said, on, labels, claims)
    if predictions is not None:
        write_table(predictions, table, dataset.classes)
    if page is not None:
        write_page(page, dataset, _view(found, chosen, table, dataset, measured))
    return found


def seen_before(found: Evaluation) -> str:
    """Says how many of the images training or selection saw."""
    return seen_line(found.seen, found.score.count, found.unknown_start)


def _dataset(
    checkpoint: FileToMeasure, recipe: Recipe, workspace: Workspace, labels: Labels, watch: Watch
) -> PreparedDataset:
    """Indexes the images to measure.

    Raises:
        DatasetError: they are of other classes than the file is for.
        MixnetError: as `prepare_val`.
    """
    dataset = prepare_val(
        recipe.data,
        workspace.datasets,
        classes=labels.classes,
        on_image=lambda done, total: watch(Tick(STAGE, done, total, "img", detail="dataset")),
        on_fetched=fetching_ticks(STAGE, watch),
    )
    folder = recipe.data.path
    if len(dataset.classes) != checkpoint.network.num_classes:
        raise DatasetError(
            f"{checkpoint.file} is for {checkpoint.network.num_classes} classes, {folder} has "
            f"images of {len(dataset.classes)}: give the folder of its images"
        )
    if labels.classes is None and ambiguous_order(dataset.classes):
        raise DatasetError(
            f"{checkpoint.file} names no classes, and {folder} has numbers, which sort as "
            f"{', '.join(dataset.classes[:4])}, ...: name the classes in label order with "
            "--classes FILE, one a line"
        )
    return dataset


def images_of(found: Evaluation) -> str:
    """Says which images were measured: how many, of how many classes, where."""
    some, every = found.classes
    classes = f"{every:,} classes" if some == every else f"{some:,} of {every:,} classes"
    place = f"{found.split} of {found.folder}" if found.split else found.folder
    return f"{found.score.count:,} images of {classes}, {place}"


def _claims(checkpoint: FileToMeasure) -> dict[str, float]:
    """Returns what its release says of the file, or the catalog by its digest: figure -> share."""
    origin = checkpoint.origin
    if origin is not None and origin.release is not None:
        return origin.release.claims
    entry = checkpoint.told.entry or entry_of(checkpoint.sha256)
    return entry.claims if entry else {}


def _evaluation(
    checkpoint: FileToMeasure,
    dataset: PreparedDataset,
    measured: Measured,
    said: str,
    on: MeasuredOn,
    labels: Labels,
    claims: dict[str, float],
) -> Evaluation:
    """Sums the predictions up."""
    rows = measured.predictions[0]
    totals = score_data(rows)
    return Evaluation(
        file=str(checkpoint.file),
        sha256=checkpoint.sha256,
        score=measured.scores[0],
        top1_interval=(totals["top1_low"], totals["top1_high"]),
        top5_interval=(totals["top5_low"], totals["top5_high"]),
        calibration_error=calibration(rows)["error"],
        val_fingerprint=dataset.val_fingerprint,
        engine=measured.engine,
        read_as=said,
        left_out=checkpoint.network.left_out,
        images_per_second=round(measured.images_per_second, 1),
        claims=claims,
        folder=on.folder or "",
        split=on.split,
        seen=on.seen,
        unseen=on.unseen,
        unknown_start=on.unknown_start,
        classes=(len(np.unique(rows["label"])), len(dataset.classes)),
        labels=str(labels),
    )


def _view(
    found: Evaluation,
    recipe: Recipe,
    table: PredictionTable,
    dataset: PreparedDataset,
    measured: Measured,
) -> dict[str, Any]:
    """Returns what the page shows; the claims were counted on images that are not known here."""
    name = Path(found.file).name
    environment = versions() | {"engine": found.engine}
    claims = judged_claims(found.claims, found.score, same_images=False, tolerance=0.0)
    return measured_view(
        name,
        recipe,
        table,
        dataset.classes,
        sentence=literal(f"Measured on {images_of(found)}: {seen_before(found)}."),
        facts=[
            ("file", f"{literal(name)}, sha256 `{found.sha256}`"),
            ("read as", literal(found.read_as)),
            *([("of the file", literal(found.left_out))] if found.left_out else []),
            (
                "images",
                f"{literal(images_of(found))}, fingerprint `{dataset.val_fingerprint[:12]}`",
            ),
            ("labels", literal(found.labels)),
            ("environment", literal(", ".join(f"{k} {text}" for k, text in environment.items()))),
        ],
        claims=[claim.model_dump() for claim in claims],
        unseen=found.unseen,
        images_per_second=measured.images_per_second,
    )
