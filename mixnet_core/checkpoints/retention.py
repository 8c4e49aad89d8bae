"""Which checkpoints a run keeps: the newest, and whatever its selection may still want.

A bundle is deleted only once another one that takes its place was read back from the disk. It loses
its name first: a kill in between leaves no half of it among the others.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import ValidationError

from mixnet_core.checkpoints.bundle import (
    AVERAGES,
    WEIGHTS,
    is_half_deleted,
    is_of_whole_epoch,
    read_contents,
    step_of,
)
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.recipe.choices import Selection
from mixnet_core.recipe.kinds import POLICIES
from mixnet_core.runs.values import Score
from mixnet_core.storage.files import (
    ASIDE_PREFIX,
    os_errors_explained,
    read_json,
    write_json,
)

# In a bundle's folder, beside what its `bundle.json` lists: file name -> its score.
SCORES = "scores.json"
# What the name of a bundle begins with that is being deleted. No lock is needed, as of a folder
# aside, nor any room, which a disk that is full has not.
_DELETED_PREFIX = ".deleted-"


def write_scores(bundle: Path, scores: dict[str, Score]) -> None:
    """Writes into a complete bundle's folder how its files did on the select split.

    Args:
        bundle: the bundle's folder.
        scores: file name -> its score.

    Raises:
        MachineError: the disk is full or not writable.
    """
    write_json(bundle / SCORES, {name: score.model_dump() for name, score in scores.items()})


def read_scores(bundle: Path) -> dict[str, Score]:
    """Reads what `write_scores` wrote: file name -> its score.

    Empty if nothing was written, or if it cannot be read: the bundle must be scored again.

    Args:
        bundle: the bundle's folder.
    """
    try:
        return {name: Score.model_validate(s) for name, s in read_json(bundle / SCORES).items()}
    except (InputError, IntegrityError, ValidationError, AttributeError):
        return {}


def better(score: Score, step: int) -> tuple[int, float, int]:
    """Returns what candidates are ordered by, the best having the greatest.

    More correct images are better; among equals the lower loss, then the later step.

    Args:
        score: on the select split.
        step: of the candidate's checkpoint.
    """
    return (score.correct1, -score.loss, step)


def unscored(folder: Path) -> list[Path]:
    """Lists the bundles of whole epochs that have no score, the oldest first.

    Args:
        folder: of the run's checkpoints; may be missing.
    """
    return [
        bundle
        for bundle in sorted(folder.glob("step-*"), key=step_of)
        if is_of_whole_epoch(bundle) and not (bundle / SCORES).exists()
    ]


def prune(folder: Path, newest: int, selection: Selection) -> None:
    """Deletes bundles that neither resuming nor the selection can want any more.

    Kept are the last `newest` bundles of whole epochs, the newest of all, and what the selection
    may take: the last few or the best few, as its policy says, and every bundle without a score
    where scores decide. What crashes left aside is deleted too, and what earlier versions left half
    deleted. Call it from the one process that writes to the folder.

    Args:
        folder: of the run's checkpoints.
        newest: how many bundles of whole epochs are kept in any case.
        selection: the recipe's section.

    Raises:
        IntegrityError: the newest bundle, for which others would go, is damaged.
        MachineError: a bundle cannot be deleted.
    """
    steps = sorted(folder.glob("step-*"), key=step_of)
    # Of the newest, others' deletion depends: it is read whole below.
    halves = {bundle for bundle in steps[:-1] if is_half_deleted(bundle)}
    whole = [bundle for bundle in steps if bundle not in halves and is_of_whole_epoch(bundle)]
    last = max(newest, POLICIES.load(selection.policy).last(selection))
    kept = {*whole[-last:], *steps[-1:], *_wanted_for_scores(whole, selection)}
    dropped = [bundle for bundle in steps if bundle not in kept]
    if dropped:
        read_contents(steps[-1])
    clear_leftovers(folder)
    for bundle in dropped:
        with os_errors_explained(bundle, "delete"):
            bundle.rename(bundle.with_name(f"{_DELETED_PREFIX}{bundle.name}"))
    clear_leftovers(folder)


def clear_leftovers(folder: Path) -> None:
    """Deletes what a kill left of bundles that were being written or deleted.

    To be called as `prune`; what cannot be deleted stays.

    Args:
        folder: of the run's checkpoints; may be missing.
    """
    # Within a bundle, of its scores.
    for pattern in (f"{_DELETED_PREFIX}*", f"{ASIDE_PREFIX}*", f"step-*/{ASIDE_PREFIX}*"):
        for leftover in folder.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def _wanted_for_scores(whole: list[Path], selection: Selection) -> set[Path]:
    policy = POLICIES.load(selection.policy)
    most = policy.best(selection)
    if not most:
        return set()
    names = (WEIGHTS, AVERAGES) if policy.averages() else (WEIGHTS,)
    wanted, scored = set(), []
    for bundle in whole:
        scores = [score for name, score in read_scores(bundle).items() if name in names]
        if scores:
            scored.append((max(better(score, step_of(bundle)) for score in scores), bundle))
        else:
            wanted.add(bundle)
    return wanted | {bundle for _, bundle in sorted(scored)[-most:]}
