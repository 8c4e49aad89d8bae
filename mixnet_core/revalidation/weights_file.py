"""Any checkpoint on any images: what `mixnet evaluate` does, without a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import DatasetError
from mixnet_core.evaluate.job import BATCH, measure
from mixnet_core.evaluate.prediction_table import PredictionTable, write_table
from mixnet_core.evaluate.report.data import versions
from mixnet_core.evaluate.report.findings import calibration, score_data
from mixnet_core.evaluate.report.view import measured_view
from mixnet_core.evaluate.report.write import write_page
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import LookRequest, LookResult
from mixnet_core.recipe.recipe import Recipe, with_stored_rules
from mixnet_core.release.catalog import load_catalog
from mixnet_core.release.origin import Origin, origin_of
from mixnet_core.revalidation.release import claimed_by
from mixnet_core.revalidation.states import judged_claims
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Tick, Watch, unwatched
from mixnet_core.runs.values import Evaluation
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.storage.files import fingerprint, sha256_of
from mixnet_core.storage.uris import refuse_credentials

STAGE = "evaluate"
_IMAGENET_CLASSES = 1000


def evaluate_file(
    file: Path,
    *,
    workspace: Workspace,
    data: str,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    batch: int = BATCH,
    predictions: Path | None = None,
    page: Path | None = None,
    watch: Watch = unwatched,
) -> Evaluation:
    """Measures a file of weights on a folder's val split; no training image is read.

    Args:
        file: `.ckpt` or `.safetensors` under MindCV's names, or `.onnx`.
        data: folder with val/, or with what val/ would hold.
        recipe: how images are read, and whose conventions the weights follow. None: that of the
            release or run that the file lies in (`release.origin`), else `mixnet_s`, _m, _l or _xl
            as the file's shapes say; on a CPU.
        settings: dotted key -> value over that.
        workers, batch: as `evaluate.job.measure`.
        predictions: file to write the prediction for every image to.
        page: file to write the report to.

    Raises:
        InputError: there is no such file, or it is of no known kind.
        IntegrityError: it lies in a release that states another digest.
        CheckpointMismatch: it is no MixNet's, or of other classes than the images.
        MixnetError: as `prepare_dataset` and `evaluate.job.measure`.
    """
    refuse_credentials(str(file), data, recipe, str(predictions), str(page))
    sha256 = sha256_of(file) if file.is_file() else ""
    folder = workspace.root / "evaluations" / fingerprint([str(file.absolute()), sha256])[:12]
    request = LookRequest(file=str(file.absolute()))
    seen = LookResult.model_validate(
        run_job("mixnet_core.evaluate.look", request, attempts=folder / "look")
    )
    origin = origin_of(file, sha256)
    chosen = _recipe(recipe, origin, seen, data, settings)
    dataset = prepare_dataset(
        chosen.data,
        workspace.datasets,
        lambda done, total: watch(Tick(STAGE, done, total, "img", detail="dataset")),
        val_only=True,
    )
    if len(dataset.classes) != seen.num_classes:
        raise DatasetError(
            f"{file} is for {seen.num_classes} classes, {data} has images of "
            f"{len(dataset.classes)}: give the folder of its images"
        )
    measured = measure(
        chosen,
        dataset,
        [file.absolute()],
        split="val",
        stage=STAGE,
        attempts=folder / "attempts",
        workers=workers,
        batch=batch,
        watch=watch,
    )
    index = read_index(Path(dataset.root), "val")
    table = PredictionTable(index.paths, measured.predictions[0])
    claims = _claims(sha256, origin)
    if predictions is not None:
        write_table(predictions, table, dataset.classes)
    totals = score_data(table.rows)
    score = measured.scores[0]
    judged = judged_claims(claims, score, same_images=False, tolerance=0.0)
    if page is not None:
        environment = versions() | {"engine": measured.engine}
        view = measured_view(
            file.name,
            chosen,
            table,
            dataset.classes,
            sentence="Measured on the val split.",
            facts=[
                ("file", f"{file.name}, sha256 `{sha256}`"),
                ("read as", _read_as(chosen, None if recipe else origin)),
                (
                    "images",
                    f"{score.count:,} of {len(dataset.classes):,} classes, fingerprint "
                    f"`{dataset.val_fingerprint[:12]}`",
                ),
                ("environment", ", ".join(f"{name} {text}" for name, text in environment.items())),
            ],
            claims=[claim.model_dump() for claim in judged],
            images_per_second=measured.images_per_second,
        )
        write_page(page, dataset, view)
    return Evaluation(
        file=str(file),
        sha256=sha256,
        score=score,
        top1_interval=(totals["top1_low"], totals["top1_high"]),
        top5_interval=(totals["top5_low"], totals["top5_high"]),
        calibration_error=calibration(table.rows)["error"],
        val_fingerprint=dataset.val_fingerprint,
        engine=measured.engine,
        read_as=_read_as(chosen, None if recipe else origin),
        images_per_second=round(measured.images_per_second, 1),
        claims=claims,
    )


def _recipe(
    name: str | None,
    origin: Origin | None,
    seen: LookResult,
    data: str,
    settings: Mapping[str, Any] | None,
) -> Recipe:
    changes: dict[str, Any] = {
        "network.num_classes": None,
        "network.in_channels": seen.in_channels,
    }
    if seen.variant is not None:
        changes["network.variant"] = seen.variant
    reads_origins = name is None and origin is not None
    if name is None:
        changes |= {"devices.target": "CPU", "devices.ranks": 1, "precision.amp_level": "O0"}
        if origin is not None:
            name = str(origin.recipe)
        elif seen.num_classes == _IMAGENET_CLASSES:
            # Its source decides what kind of folder `data` is taken for.
            name = f"mixnet_{seen.variant or 's'}"
            name = name if name != "mixnet_xl" else "mixnet_l"
        else:
            name = "finetune"
            changes |= {"weights.name": None, "weights.reset_classifier": False}
    if seen.image_size is not None:
        changes["input.image_size"] = seen.image_size
    recipe = adjusted_recipe(name, data=data, settings=changes | dict(settings or {}))
    return with_stored_rules(recipe) if reads_origins else recipe


def _read_as(recipe: Recipe, origin: Origin | None) -> str:
    given = recipe.input
    said = f"{recipe.name}, of {origin.name}" if origin else recipe.name
    return (
        f"MixNet-{recipe.network.variant.upper()}, {recipe.network.flavour} flavour, "
        f"short side {recipe.short_side} px {given.interpolation}, crop {given.image_size} px "
        f"(recipe {said})"
    )


def _claims(sha256: str, origin: Origin | None) -> dict[str, float]:
    """What its release says of the file, or the catalog, by its digest: figure -> share."""
    if origin is not None and origin.release is not None:
        return claimed_by(origin.release)
    for entry in load_catalog().values():
        if sha256.startswith(entry.sha256):
            return claimed_by(entry)
    return {}
