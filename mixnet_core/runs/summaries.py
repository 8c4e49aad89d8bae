"""One line per stage's result, for a terminal and a flow's log."""

from __future__ import annotations

from functools import singledispatch

from mixnet_core.runs.export_values import Exported
from mixnet_core.runs.values import (
    DUPLICATES_FILE,
    Decision,
    FetchedWeights,
    NearDuplicates,
    Overlap,
    PreparedCopy,
    PreparedDataset,
    Release,
    Score,
    Selection,
    TrainedRun,
    Validation,
    Value,
)
from mixnet_core.storage.sizes import size


@singledispatch
def summary(value: Value | None) -> str:
    """Says in one line what a stage returned; a reused result says so.

    Raises:
        TypeError: nobody registered a line for such a value.
    """
    raise TypeError(f"no summary of {type(value).__name__}")


@summary.register
def _(value: None) -> str:
    return "from scratch, no weights to fetch"


@summary.register
def _(value: PreparedDataset) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in value.counts.items())
    found = f"{counts} images of {len(value.classes)} classes in {value.root}"
    return "; ".join((found, *value.notes, *_duplicates(value))) + _skipped(value.reused)


@summary.register
def _(value: PreparedCopy) -> str:
    return f"{size(value.bytes)} of shards in {value.uri}{_skipped(value.reused)}"


@summary.register
def _(value: FetchedWeights) -> str:
    return f"{value.name}, sha256 {value.sha256[:12]} verified{_skipped(value.reused)}"


@summary.register
def _(value: TrainedRun) -> str:
    resumed = f", resumed after step {value.resumed_from_step}" if value.resumed_from_step else ""
    resumed += f" otherwise than before ({', '.join(value.changes)})" if value.changes else ""
    resumed += f", {value.unreadable} unreadable images replaced" if value.unreadable else ""
    resumed += f", {rewound(value.rewinds, len(value.left_out))}" if value.rewinds else ""
    ranks = f"{value.ranks} rank{'s' if value.ranks > 1 else ''}"
    return (
        f"{value.epochs} epochs on {ranks}, loss {value.loss:.3f}, {value.images_per_second:.0f} "
        f"img/s, {value.seconds:.0f} s{resumed}{_skipped(value.reused)}"
    )


@summary.register
def _(value: Selection) -> str:
    chosen = next(c for c in value.candidates if c.checkpoint == value.chosen)
    kind = "" if value.chosen.kind == "as trained" else f", {value.chosen.kind}"
    return (
        f"epoch {value.chosen.epoch}{kind}, {value.policy.replace('_', ' of the ')} of "
        f"{len(value.candidates)} checkpoints, select split: {figures(chosen.score)}"
        f"{_skipped(value.reused)}"
    )


@summary.register
def _(value: Validation) -> str:
    said = f"; {value.measured_on.seen_line}" if value.measured_on else ""
    return f"val split: {figures(value.score)}{said}{_skipped(value.reused)}"


@summary.register
def _(value: Decision) -> str:
    lines = [check.line for check in value.checks] or ["nothing was demanded"]
    if value.override is not None:
        lines.append(f"published anyway: {value.override}")
    verdict = "accepted" if value.accepted else "not accepted"
    return f"{verdict}: {'; '.join(lines)}{_skipped(value.reused)}"


@summary.register
def _(value: Exported) -> str:
    if not value.proofs:
        return "nothing to export"
    return "; ".join(proof.line for proof in value.proofs) + _skipped(value.reused)


@summary.register
def _(value: Release) -> str:
    signed = {None: "", True: ", signed", False: ", not signed"}[value.signed]
    return f"{value.name} at {value.uri}{signed}{_skipped(value.reused)}"


def rewound(times: int, batches: int) -> str:
    """Says how often training went back after it diverged, and what it left out for that."""
    left = f"{batches or 'no'} batch{'es' if batches > 1 else ''} left out"
    return f"went back {times} time{'s' if times > 1 else ''} after it diverged, {left}"


def figures(score: Score) -> str:
    """Returns a score's figures in words."""
    return (
        f"top-1 {100 * score.top1:.2f} %, top-5 {100 * score.top5:.2f} %, loss {score.loss:.4f} "
        f"on {score.count:,} images"
    )


def overlap_line(overlap: Overlap) -> str:
    """Says which images of a dataset stand in it more than once, or look alike."""
    again = "among themselves" if isinstance(overlap, NearDuplicates) else "more than once"
    training = "train" if overlap.select_in_train is None else "train or select"
    several = ((f"{again} in {split}", count) for split, count in overlap.within.items())
    found = (
        (f"of val in {training} too", overlap.val_in_training),
        ("of select in train too", overlap.select_in_train),
        *several,
        ("under several classes", overlap.in_several_classes),
    )
    said = ", ".join(f"{count:,} {where}" for where, count in found if count)
    if isinstance(overlap, NearDuplicates):
        within = f"within {overlap.distance} of 64 bits"
        if not said:
            return f"no two images look alike {within}"
        return f"images that look like others {within}: {said}"
    if not said:
        return "no image stands twice, byte for byte"
    return f"images that stand twice, byte for byte: {said}"


@summary.register
def _(value: NearDuplicates) -> str:
    return overlap_line(value)


def _duplicates(dataset: PreparedDataset) -> tuple[str, ...]:
    if dataset.overlap is None:
        return ()
    listed = f", listed in {dataset.root}/{DUPLICATES_FILE}" if dataset.overlap.all else ""
    return (f"{overlap_line(dataset.overlap)}{listed}",)


def _skipped(reused: bool) -> str:
    return " (already done, skipped)" if reused else ""
