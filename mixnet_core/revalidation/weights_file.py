"""Any checkpoint on any images: what `mixnet evaluate` does, without a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixnet_core.data.class_names import ambiguous_order
from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_val
from mixnet_core.errors import DatasetError, InputError
from mixnet_core.evaluate.job import BATCH, Measured, measure
from mixnet_core.evaluate.look import look
from mixnet_core.evaluate.measured_on import measured_on
from mixnet_core.evaluate.prediction_table import PredictionTable, write_table
from mixnet_core.evaluate.report.data import versions
from mixnet_core.evaluate.report.findings import calibration, score_data
from mixnet_core.evaluate.report.view import measured_view
from mixnet_core.evaluate.report.write import write_page
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import LookRequest, LookResult
from mixnet_core.recipe.recipe import Recipe, with_stored_rules
from mixnet_core.release.catalog import entry_of
from mixnet_core.release.origin import Origin, origin_of
from mixnet_core.revalidation.labels import Labels, labels_of
from mixnet_core.revalidation.seen import seen_by
from mixnet_core.revalidation.states import judged_claims
from mixnet_core.runs.markup import literal
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Tick, Watch, unwatched
from mixnet_core.runs.values import Evaluation, MeasuredOn, PreparedDataset, seen_line
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.stages.release_to_measure import PLAIN_CPU, imagenet_recipe
from mixnet_core.storage.asides import remove_left_asides
from mixnet_core.storage.files import expect_writable, fingerprint, os_errors_explained, sha256_of
from mixnet_core.storage.uris import refuse_credentials, shown

STAGE = "evaluate"
_IMAGENET_CLASSES = 1000


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
        file: `.ckpt` or `.safetensors` under MindCV's names, or `.onnx`.
        data: folder with val/, or with what val/ would hold.
        recipe: how images are read, and whose conventions the weights follow. None: that of the
            release or run that the file lies in (`release.origin`), else that of the variant that
            shows in the file's shapes (`release_to_measure.imagenet_recipe`); on a CPU.
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
    _expect_targets((predictions, page), kept=(file, classes))
    checkpoint = _look_at(file, workspace, ema=ema)
    chosen = _recipe(checkpoint, recipe, data, settings)
    read_as = _read_as(chosen, None if recipe else checkpoint.origin, given=recipe is not None)
    number = checkpoint.network.num_classes
    labels = labels_of(file, number, checkpoint.origin, classes)
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
    found = _evaluation(checkpoint, dataset, measured, read_as, on, labels, claims)
    if predictions is not None:
        write_table(predictions, table, dataset.classes)
    if page is not None:
        write_page(page, dataset, _view(found, chosen, table, dataset, measured))
    return found


def seen_before(found: Evaluation) -> str:
    """Says how many of the images training or selection saw."""
    return seen_line(found.seen, found.score.count, found.unknown_start)


def _expect_targets(targets: Sequence[Path | None], kept: Sequence[Path | None]) -> None:
    """Makes sure that each file can be written, and takes the place of no other one.

    Args:
        kept: files that are read.

    Raises:
        InputError, MachineError: as `expect_writable`.
    """
    # Unlike Path.resolve it takes links that lead in a circle.
    taken = [os.path.realpath(path) for path in kept if path is not None]
    for target in (path for path in targets if path is not None):
        if os.path.realpath(target) in taken:
            raise InputError(
                f"{shown(str(target))} is named for two things: give each file a name of its own"
            )
        taken.append(os.path.realpath(target))
        expect_writable(target)


@dataclass(frozen=True)
class _Checkpoint:
    """Describes a file of weights before it is measured.

    Attributes:
        file: as it was given.
        sha256: hex, of the whole file.
        folder: of the workspace, for what measuring it leaves.
        network: what its shapes say.
        origin: the release or run that it lies in; None: neither.
    """

    file: Path
    sha256: str
    folder: Path
    network: LookResult
    origin: Origin | None


def _look_at(file: Path, workspace: Workspace, *, ema: bool) -> _Checkpoint:
    """Finds out what network a file is for and where it lies.

    Raises:
        InputError, IntegrityError, CheckpointMismatch: as `evaluate.look.look` and `origin_of`.
    """
    with os_errors_explained(file, "read"):
        sha256 = sha256_of(file) if file.is_file() else ""
    every = workspace.root / "evaluations"
    # Another file's too, which may never be evaluated again.
    remove_left_asides(*every.glob("*/attempts"))
    folder = every / fingerprint([str(file.absolute()), sha256])[:12]
    request = LookRequest(file=str(file.absolute()), ema=ema)
    if file.suffix == ".onnx":
        found = run_job("mixnet_core.evaluate.look", request, attempts=folder / "look")
        network = LookResult.model_validate(found)
    else:
        network = look(request)
    return _Checkpoint(file, sha256, folder, network, origin_of(file, sha256))


def _recipe(
    checkpoint: _Checkpoint, name: str | None, data: str, settings: Mapping[str, Any] | None
) -> Recipe:
    """Returns the recipe that the file's images are read by, with the file's own network in it."""
    network, origin = checkpoint.network, checkpoint.origin
    changes: dict[str, Any] = {
        "network.num_classes": None,
        "network.in_channels": network.in_channels,
    }
    if network.variant is not None:
        changes["network.variant"] = network.variant
    if network.image_size is not None:
        changes["input.image_size"] = network.image_size
    reads_origins = name is None and origin is not None
    if name is None:
        changes |= PLAIN_CPU
        if origin is not None:
            name = str(origin.required_recipe(checkpoint.file))
        elif network.num_classes == _IMAGENET_CLASSES:
            # Its source decides what kind of folder `data` is taken for.
            name = imagenet_recipe(network.variant or "s")
        else:
            name = "finetune"
            changes |= {"weights.name": None, "weights.reset_classifier": False}
    recipe = adjusted_recipe(name, data=data, settings=changes | dict(settings or {}))
    return with_stored_rules(recipe) if reads_origins else recipe


def _read_as(recipe: Recipe, origin: Origin | None, *, given: bool) -> str:
    """Says network and transform of the images, and which recipe says so."""
    why = "" if given else ", as no release or run around the file says otherwise"
    read = recipe.input
    said = f"{recipe.name}, of {origin.name}" if origin else f"{recipe.name}{why}"
    return (
        f"MixNet-{recipe.network.variant.upper()}, {recipe.network.flavour} flavour, "
        f"short side {recipe.short_side} px {read.interpolation}, crop {read.image_size} px "
        f"(recipe {said})"
    )


def _dataset(
    checkpoint: _Checkpoint, recipe: Recipe, workspace: Workspace, labels: Labels, watch: Watch
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


def _claims(checkpoint: _Checkpoint) -> dict[str, float]:
    """Returns what its release says of the file, or the catalog by its digest: figure -> share."""
    origin = checkpoint.origin
    if origin is not None and origin.release is not None:
        return origin.release.claims
    entry = entry_of(checkpoint.sha256)
    return entry.claims if entry else {}


def _evaluation(
    checkpoint: _Checkpoint,
    dataset: PreparedDataset,
    measured: Measured,
    read_as: str,
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
        read_as=read_as,
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
