"""The stage `fetch`."""

from __future__ import annotations

import logging
from pathlib import Path

from mixnet_core.release.initial import find_initial
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.recipe_fit import expect_weights_fit
from mixnet_core.release.weights import fetch_release_weights
from mixnet_core.runs.records import finished, write_record
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import FetchedWeights
from mixnet_core.stages.context import Context
from mixnet_core.stages.made_from import fetch_inputs
from mixnet_core.stages.start_seen import with_seen
from mixnet_core.storage.files import sha256_of
from mixnet_core.storage.uris import shown

log = logging.getLogger(__name__)


def fetch(context: Context) -> FetchedWeights | None:
    """Fetches and verifies the initial weights; a run that has them does not fetch them again.

    By then the release may be gone.

    Returns:
        The file; None where the recipe starts from scratch.

    Raises:
        InputError: there is no such release.
        IntegrityError: the bytes are not what was published, or not of the recipe's network.
        MixnetError: as `release.weights.fetch_release_weights`.
    """
    recipe, run, workspace, watch = context.recipe, context.run, context.workspace, context.watch
    name = recipe.weights.name
    if name is None:
        return None

    done = fetched_before(context)
    if done:
        _say_if_changed(name, done)
        return done

    def on_bytes(done: int, total: int | None) -> None:
        watch(Tick("fetch", done, total, "B"))

    release = find_initial(name, context.registry)
    weights = fetch_release_weights(release, cache=workspace.weights, on_bytes=on_bytes)
    left_out = expect_weights_fit(Path(weights.path), recipe)
    if left_out:
        log.warning("%s: %s", weights.name, left_out)
    if isinstance(release, PublishedRelease):
        weights = with_seen(weights, release, workspace.weights)
    write_record(run, "fetch", fetch_inputs(recipe), weights)
    return weights


def fetched_before(context: Context) -> FetchedWeights | None:
    """Returns what the run has on record, if the file is still there and whole."""
    done = finished(context.run, "fetch", fetch_inputs(context.recipe), FetchedWeights)
    return done if done and _is_whole(done) else None


def _say_if_changed(name: str, done: FetchedWeights) -> None:
    """Warns where a file that the user names is another one by now: the run keeps what it has."""
    path = Path(name)
    if path.is_absolute() and path.is_file() and sha256_of(path) != done.sha256:
        log.warning(
            "%s has changed since this run took its weights from it, and the run goes on with "
            "those (sha256 %s): name another run (--run) to start from the new ones",
            shown(name),
            done.sha256[:12],
        )


def _is_whole(weights: FetchedWeights) -> bool:
    files = [(weights.path, weights.sha256)]
    if weights.seen:
        files.append((weights.seen, weights.seen_sha256))
    return all(Path(path).is_file() and sha256_of(Path(path)) == digest for path, digest in files)
