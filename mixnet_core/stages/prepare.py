"""The stage `prepare`."""

from __future__ import annotations

from typing import Any

from mixnet_core.data.prepare import expect_class_count, prepare_dataset
from mixnet_core.data.prepared_copy import write_copy
from mixnet_core.errors import InputError
from mixnet_core.evaluate.job import patience_of
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import PackedDataset, PackRequest
from mixnet_core.runs.records import trained_dataset, write_record
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import Tick, fetching_ticks
from mixnet_core.runs.values import PreparedCopy, PreparedDataset
from mixnet_core.stages.acceptance import require_images
from mixnet_core.stages.context import Context
from mixnet_core.stages.demand import judged_images
from mixnet_core.stages.made_from import prepare_inputs


def copy_to(context: Context, dataset: PreparedDataset, uri: str) -> PreparedCopy:
    """Writes the shards of a prepared dataset to a store (`data.prepared_copy.write_copy`).

    Raises:
        MixnetError: as `write_copy`.
    """

    def on_bytes(done: int, total: int | None) -> None:
        context.watch(Tick("prepare", done, total, "B", detail="to the store"))

    return write_copy(dataset, uri, on_bytes)


def prepare(context: Context, override: str | None = None) -> PreparedDataset:
    """Checks, splits and indexes the recipe's images (`data.prepare.prepare_dataset`).

    Args:
        override: a reason to publish whatever is demanded, of the images too; `accept` records it.

    Returns:
        The dataset, which runs with the same images and splits share.

    Raises:
        DatasetError: the images are missing or malformed, or of other classes than the recipe says.
        InputError: the run has begun to train on other images, which stay on record.
        NotAccepted: the recipe demands of the images what they are not; they are on record.
        JobFailed: the process that writes shards failed.
        MixnetError: as `data.prepare.prepare_dataset`.
    """
    recipe, run, workspace, watch = context.recipe, context.run, context.workspace, context.watch

    def on_image(done: int, total: int) -> None:
        watch(Tick("prepare", done, total, "img"))

    def on_row(row: dict[str, Any]) -> None:
        watch(Tick("prepare", row["done"], row["total"], "img", detail="into shards, and checked"))

    def pack(request: PackRequest) -> PackedDataset:
        progress = run.progress("prepare")
        result = run_job(
            "mixnet_core.data.mindrecord",
            request.model_copy(update={"progress": str(progress)}),
            attempts=run.attempts("prepare"),
            progress=progress,
            on_progress=on_row,
            patience=patience_of(recipe),
        )
        return PackedDataset.model_validate(result)

    def fits(classes: int, images: int) -> None:
        # Whether there is a batch of images is for the training to say, and for check before it:
        # they may be prepared for another recipe, too.
        expect_class_count(classes, recipe.network.num_classes)

    dataset = prepare_dataset(
        recipe.data,
        workspace.datasets,
        on_image,
        pack=pack,
        fits=fits,
        on_fetched=fetching_ticks("prepare", watch),
    )
    # What was prepared before was prepared for another recipe perhaps.
    expect_class_count(len(dataset.classes), recipe.network.num_classes)
    _expect_begun_with(run, dataset)
    write_record(run, "prepare", prepare_inputs(recipe), dataset)
    if override is None:
        require_images(judged_images(recipe.acceptance, dataset), dataset)
    return dataset


def another_dataset(dataset: PreparedDataset) -> str:
    """Says what a run may have been begun with instead of a dataset."""
    taken = [note for note in dataset.notes if note.endswith("is taken for val")]
    earlier = "; earlier versions cut val from train/: a leading dot hides the folder"
    said = f" ({', '.join(taken)}{earlier})" if taken else ""
    return f"another dataset{said}"


def _expect_begun_with(run: RunDir, dataset: PreparedDataset) -> None:
    """Keeps on record what a run trains on: images may have changed since, as in a store.

    Raises:
        InputError: they are others now.
    """
    begun = trained_dataset(run)
    if begun is not None and begun.fingerprint != dataset.fingerprint:
        raise InputError(
            f"run {run.name} was begun with {another_dataset(dataset)}, of fingerprint "
            f"{begun.fingerprint[:12]}: `mixnet train --run {run.name}` goes on with that; for "
            f"this one, of {dataset.fingerprint[:12]}, choose another run name"
        )
