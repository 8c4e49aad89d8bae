"""The images that a file's training and selection saw, as far as what lies around it knows them."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.index import read_manifest
from mixnet_core.data.seen import Seen, read_seen, seen_in_training
from mixnet_core.errors import DigestMismatch, InputError, IntegrityError
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.origin import Origin
from mixnet_core.runs.records import trained_dataset
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.release_to_measure import AnyRelease, fetch_file
from mixnet_core.storage.files import sha256_of

ROLE = "seen"


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
    published = origin.release.files.get(ROLE)
    if published is None or not (folder / published.name).is_file():
        return None
    if sha256_of(folder / published.name) != published.sha256:
        raise DigestMismatch(
            f"{folder / published.name} is not what its manifest states: fetch the release again"
        )
    return read_seen(folder / published.name)


def fetch_seen(release: AnyRelease, folder: Path) -> Seen | None:
    """Fetches what a release's weights were trained and selected on; None where it does not say.

    Args:
        folder: of the workspace, for the file.

    Raises:
        MixnetError: as `stages.release_to_measure.fetch_file`.
    """
    if not isinstance(release, PublishedRelease) or ROLE not in release.files:
        return None
    return read_seen(fetch_file(release, ROLE, folder / "published-seen.bin"))


def _seen_in_run(run: RunDir) -> Seen | None:
    if run.seen.is_file():
        return read_seen(run.seen)
    # Not validated yet, or by an earlier version.
    try:
        dataset = trained_dataset(run)
        if dataset is None:
            return None
        root = Path(dataset.root)
        same = read_manifest(root)["fingerprint"] == dataset.fingerprint
        return seen_in_training(root) if same else None
    except (InputError, IntegrityError):
        return None
