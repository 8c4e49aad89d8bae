"""Which images a figure was counted on, and how many of them the weights had seen."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.index import read_manifest
from mixnet_core.data.seen import Seen, val_digests
from mixnet_core.evaluate.counting import Judged, score
from mixnet_core.recipe.sections import Data
from mixnet_core.runs.values import MeasuredOn, PreparedDataset
from mixnet_core.storage.uris import shown


def measured_on(
    data: Data, dataset: PreparedDataset, rows: Judged, seen: Seen | None
) -> MeasuredOn:
    """Describes a dataset's val split as the images of a measurement.

    Args:
        data: the section that it was prepared by.
        rows: (N,), the predictions for it, by position; see `counting.JUDGED`.
        seen: the images that the weights were trained and selected on; None where not known.

    Raises:
        DatasetError, IntegrityError, MachineError: as `data.index.read_index`.
    """
    root = Path(dataset.root)
    manifest = read_manifest(root)
    origin = manifest.get("origin", {})
    count, unseen = None, None
    if seen is not None:
        mask = seen.mask(val_digests(root))
        count = int(mask.sum())
        unseen = score(rows[~mask]) if 0 < count < len(rows) else None
    return MeasuredOn(
        folder=None if data.path is None else shown(data.path),
        split=origin["val"] if "val" in origin else _split(manifest.get("settings", {})),
        count=len(rows),
        seen=count,
        unseen=unseen,
        unknown_start=None if seen is None else seen.lacks,
    )


def _split(settings: dict[str, object]) -> str:
    """Says what stands for val in a dataset of an earlier version."""
    return "val" if settings.get("val_share") is None else "cut from the training images"
