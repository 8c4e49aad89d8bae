"""The stage `fetch`."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.release.weights import fetch_weights
from mixnet_core.runs.records import finished, write_record
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import FetchedWeights
from mixnet_core.stages.context import Context
from mixnet_core.stages.made_from import fetch_inputs
from mixnet_core.storage.files import sha256_of


def fetch(context: Context) -> FetchedWeights | None:
    """Fetches and verifies the initial weights; a run that has them does not fetch them again.

    By then the release may be gone.

    Returns:
        The file; None where the recipe starts from scratch.

    Raises:
        InputError: there is no such release.
        IntegrityError: the bytes are not what was published.
        MixnetError: as `release.weights.fetch_weights`.
    """
    recipe, run, workspace, watch = context.recipe, context.run, context.workspace, context.watch
    name = recipe.weights.name
    if name is None:
        return None

    inputs = fetch_inputs(recipe)
    done = finished(run, "fetch", inputs, FetchedWeights)
    if done and _is_whole(done):
        return done

    def on_bytes(done: int, total: int | None) -> None:
        watch(Tick("fetch", done, total, "B"))

    weights = fetch_weights(
        name, cache=workspace.weights, registry=context.registry, on_bytes=on_bytes
    )
    write_record(run, "fetch", inputs, weights)
    return weights


def _is_whole(weights: FetchedWeights) -> bool:
    path = Path(weights.path)
    return path.is_file() and sha256_of(path) == weights.sha256
