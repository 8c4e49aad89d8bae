"""What a report says of the images that it is on: no more than their digests say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixnet_core.runs.markup import literal
from mixnet_core.runs.summaries import overlap_line
from mixnet_core.runs.values import (
    DUPLICATES_FILE,
    MeasuredOn,
    NearDuplicates,
    Overlap,
    unknown_line,
)


def measured_sentence(data: Mapping[str, Any]) -> str:
    """Says of `data.report_data`'s values how val was measured, and what is left without the images
    that were seen before.
    """
    on = _measured_on(data)
    if on is None or on.seen is None:
        return (
            "Measured once on the val split. How many of its images training or selection saw was "
            "not counted."
        )
    unknown = None if on.unknown_start is None else literal(unknown_line(on.unknown_start))
    if not on.seen and unknown is not None:
        return (
            "Measured once on the val split: none of its images stands in this run's training or "
            f"selection (no byte-identical image); {unknown}."
        )
    if not on.seen:
        return (
            "Measured once on the val split, which neither training nor selection saw (no "
            "byte-identical image)."
        )
    limit = "" if unknown is None else f" W{unknown[1:]}."
    return (
        f"Measured once on the val split: {on.seen:,} of {on.count:,} val images stand in training "
        f"or selection, byte for byte{_where(data, on.seen)}. "
        f"{_unseen_sentence(data['unseen'])} Acceptance goes by all of them.{limit}"
    )


def images_facts(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns which images were measured, which files left out, and which images stand there twice.

    Returns:
        Name -> parts of its text; nothing for reports of earlier versions.
    """
    found = {}
    on = _measured_on(data)
    if on is not None:
        found["measured on"] = [f"{on.count:,} images", literal(on.place)]
        found["seen before"] = [literal(on.seen_line)]
    notes = data["dataset"].get("notes", [])
    if notes:
        found["files"] = [literal(note) for note in notes]
    overlap = data["dataset"].get("overlap")
    if overlap is not None:
        found["duplicates"] = [overlap_line(Overlap.model_validate(overlap))]
    near = data["dataset"].get("near_duplicates")
    if near is not None:
        found["near duplicates"] = [overlap_line(NearDuplicates.model_validate(near))]
    return found


def _measured_on(data: Mapping[str, Any]) -> MeasuredOn | None:
    given = data.get("measured_on")
    return None if given is None else MeasuredOn.model_validate(given)


def _where(data: Mapping[str, Any], seen: int) -> str:
    """Says which of the images that were seen are listed, and whose training saw the others."""
    listed = f"{DUPLICATES_FILE} of the prepared dataset"
    own = (data["dataset"].get("overlap") or {}).get("val_in_training")
    if own is None or own >= seen:
        return f" ({listed})"
    if not own:
        return ", in that of the initial weights"
    return f": {own:,} in this run's ({listed}), the others in that of the initial weights"


def _unseen_sentence(unseen: Mapping[str, Any] | None) -> str:
    if unseen is None:
        return "No image is left that they did not see: the figures say nothing about new images."
    low, high = (f"{100 * unseen[key]:.2f}" for key in ("top1_low", "top1_high"))
    return (
        f"On the other {unseen['count']:,} top-1 is {100 * unseen['top1']:.2f} % (95 % interval "
        f"{low} to {high} %)."
    )
