"""The images that a file's training and selection saw, as far as what lies around it knows them."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.index import read_manifest
from mixnet_core.data.seen import Seen, read_seen, seen_in_training
from mixnet_core.errors import DigestMismatch, InputError, IntegrityError
from mixnet_core.recipe.recipe import Recipe, stored_recipe
from mixnet_core.release.manifest import SEEN, PublishedRelease
from mixnet_core.release.origin import Origin
from mixnet_core.runs.records import recorded, trained_dataset
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import Validation
from mixnet_core.stages.release_to_measure import AnyRelease, fetch_file
from mixnet_core.stages.start_seen import seen_by_start
from mixnet_core.storage.files import sha256_of
from mixnet_core.storage.uris import shown


def seen_by(origin: Origin | None, file: Path) -> Seen | None:
    """Finds out what the weights of a release's or a run's folder were trained and selected on.

    Args:
        file: the weights; what their release says lies beside them.

    Returns:
        None where that is not known: the file lies in neither, the release is of an earlier version
        or was made without it, the run's dataset is gone.

    Raises:
        IntegrityError: the release's file is not what was published, or the run's is damaged.
        MachineError: it cannot be read.
    """
    if origin is None:
        return None
    if origin.release is None:
        return _seen_in_run(RunDir(origin.required_recipe(file).parent))
    folder = file.resolve().parent
    published = origin.release.files.get(SEEN)
    if published is None or not (folder / published.name).is_file():
        return None
    if sha256_of(folder / published.name) != published.sha256:
        raise DigestMismatch(
            f"{folder / published.name} is not what its manifest states: fetch the release again"
        )
    return Seen(read_seen(folder / published.name).prefixes, origin.release.seen_lacks)


def fetch_seen(release: AnyRelease, folder: Path) -> Seen | None:
    """Fetches what a release's weights were trained and selected on; None where it does not say.

    Args:
        folder: of the workspace, for the file.

    Raises:
        MixnetError: as `stages.release_to_measure.fetch_file`.
    """
    if not isinstance(release, PublishedRelease) or SEEN not in release.files:
        return None
    file = fetch_file(release, SEEN, folder / "published-seen.bin")
    return Seen(read_seen(file).prefixes, release.seen_lacks)


def _seen_in_run(run: RunDir) -> Seen | None:
    recipe = stored_recipe(run.recipe)
    if run.seen.is_file():
        return Seen(read_seen(run.seen).prefixes, _lacks(run, recipe))
    # Not validated yet, or by an earlier version.
    try:
        dataset = trained_dataset(run)
        if dataset is None:
            return None
        root = Path(dataset.root)
        same = read_manifest(root)["fingerprint"] == dataset.fingerprint
        found = seen_in_training(root) if same else None
        return None if found is None else found | seen_by_start(run, recipe)
    except (InputError, IntegrityError):
        return None


def _lacks(run: RunDir, recipe: Recipe) -> str | None:
    """Returns the initial weights whose images a validated run's file lacks."""
    try:
        on = recorded(run, "validate", Validation).measured_on
    except (InputError, IntegrityError):
        on = None
    if on is not None and "unknown_start" in on.model_fields_set:
        return on.unknown_start
    # Of an earlier version, whose file has the run's own images alone.
    return None if recipe.weights.name is None else shown(recipe.weights.name)
