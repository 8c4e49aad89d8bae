"""What the initial weights of a run were trained and selected on, as far as their release says.

A release's file in the role `seen` holds what its own weights were trained on, with what it started
from. Where some weights further back said nothing, that goes along by their name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixnet_core.data.seen import Seen, read_seen
from mixnet_core.errors import InputError
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.release.manifest import SEEN, PublishedRelease
from mixnet_core.runs.records import finished
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import FetchedWeights
from mixnet_core.stages.made_from import fetch_inputs
from mixnet_core.stages.release_to_measure import fetch_file
from mixnet_core.storage.files import sha256_of
from mixnet_core.storage.uris import shown


def with_seen(weights: FetchedWeights, release: PublishedRelease, cache: Path) -> FetchedWeights:
    """Fetches what a release's weights had seen beside the weights; nothing where it has none.

    Args:
        cache: folder of fetched weights.

    Raises:
        IntegrityError: it is not what was published, or no such file.
        MixnetError: as `release_to_measure.fetch_file`.
    """
    stated = release.files.get(SEEN)
    if stated is None:
        return weights
    path = cache.absolute() / f"{release.name}-{stated.name}"
    if not path.is_file() or sha256_of(path) != stated.sha256:
        fetch_file(release, SEEN, path)
    read_seen(path)
    more = {"seen": str(path), "seen_sha256": stated.sha256, "seen_lacks": release.seen_lacks}
    return weights.model_copy(update=more)


def seen_by_start(run: RunDir, recipe: Recipe) -> Seen:
    """Returns the images that the run's initial weights had seen; from scratch there are none.

    Raises:
        InputError: what was fetched of them is not there any more.
        IntegrityError, MachineError: as `data.seen.read_seen`.
    """
    nothing = Seen(np.zeros(0, np.uint64))
    if recipe.weights.name is None:
        return nothing
    weights = finished(run, "fetch", fetch_inputs(recipe), FetchedWeights)
    if weights is None or not weights.seen:
        return Seen(nothing.prefixes, lacks=shown(weights.name if weights else recipe.weights.name))
    path = Path(weights.seen)
    if not path.is_file() or sha256_of(path) != weights.seen_sha256:
        raise InputError(
            f"{path} is not what was fetched with the initial weights: run `mixnet fetch --run "
            f"{run.name}` again"
        )
    return Seen(read_seen(path).prefixes, lacks=weights.seen_lacks)
