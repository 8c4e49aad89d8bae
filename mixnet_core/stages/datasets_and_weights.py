"""The stages `prepare` and `fetch`: what a run needs, on this machine and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mixnet_core.data.prepare import expect_classes, prepare_dataset
from mixnet_core.files import sha256_of
from mixnet_core.launch import run_stage
from mixnet_core.measuring import patience_of
from mixnet_core.recipe import Recipe
from mixnet_core.release.weights import fetch_weights
from mixnet_core.requests import PackedDataset, PackRequest
from mixnet_core.run_dir import RunDir, Workspace
from mixnet_core.runs import finished, write_record
from mixnet_core.stages.made_from import fetch_inputs, prepare_inputs
from mixnet_core.ticks import Tick, Watch, unwatched
from mixnet_core.values import FetchedWeights, PreparedDataset


def prepare(
    recipe: Recipe, run: RunDir, workspace: Workspace, watch: Watch = unwatched
) -> PreparedDataset:
    """The recipe's images, split and indexed (`data.prepare.prepare_dataset`)."""

    def on_image(done: int, total: int) -> None:
        watch(Tick("prepare", done, total, "img"))

    def on_row(row: dict[str, Any]) -> None:
        watch(Tick("prepare", row["done"], row["total"], "img", detail="into shards, and checked"))

    def pack(request: PackRequest) -> PackedDataset:
        attempts = run.attempts("prepare")
        progress = attempts / "progress.jsonl"
        result = run_stage(
            "mixnet_core.data.mindrecord",
            request.model_copy(update={"progress": str(progress)}),
            attempts=attempts,
            progress=progress,
            on_progress=on_row,
            patience=patience_of(recipe),
        )
        return PackedDataset.model_validate(result)

    dataset = prepare_dataset(recipe.data, workspace.datasets, on_image, pack=pack)
    expect_classes(dataset, recipe.network.num_classes)
    write_record(run, "prepare", prepare_inputs(recipe), dataset)
    return dataset


def fetch(
    recipe: Recipe, run: RunDir, workspace: Workspace, releases: str, watch: Watch = unwatched
) -> FetchedWeights | None:
    """The verified file that training starts from; None where the recipe starts from scratch.

    A run that has it already does not look at the release again, which may be gone by then.

    Args:
        releases: URI where a release's name is looked up after the catalog.
    """
    name = recipe.weights.name
    if name is None:
        return None

    inputs = fetch_inputs(recipe)
    done = finished(run, "fetch", inputs, FetchedWeights)
    if done and _is_whole(done):
        return done

    def on_bytes(done: int, total: int | None) -> None:
        watch(Tick("fetch", done, total, "B"))

    weights = fetch_weights(name, cache=workspace.weights, releases_uri=releases, on_bytes=on_bytes)
    write_record(run, "fetch", inputs, weights)
    return weights


def _is_whole(weights: FetchedWeights) -> bool:
    path = Path(weights.path)
    return path.is_file() and sha256_of(path) == weights.sha256
