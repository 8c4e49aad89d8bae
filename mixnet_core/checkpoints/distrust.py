"""Checkpoints that were saved when training may have diverged: set aside, never gone on from.

They keep their bytes, under DIVERGED_PREFIX, for whoever wants to know what happened.
"""

from __future__ import annotations

from pathlib import Path

from mixnet_core.checkpoints.bundle import newest_bundle, set_aside, step_of

DIVERGED_PREFIX = "diverged-"


def distrust(folder: Path, since: int) -> list[str]:
    """Sets the bundles aside that hold this step or a later one.

    To be called by the one process that writes to the folder.

    Args:
        folder: of the run's checkpoints; may be missing.
        since: step, from 1.

    Returns:
        Their names, the oldest first.

    Raises:
        MachineError: one cannot be renamed.
    """
    # The newest first: whatever is left by a kill in between, it is the older ones.
    bundles = sorted(folder.glob("step-*"), key=step_of, reverse=True)
    found = [bundle for bundle in bundles if step_of(bundle) >= since]
    for bundle in found:
        set_aside(bundle, DIVERGED_PREFIX)
    return [bundle.name for bundle in reversed(found)]


def go_back(folder: Path, since: int) -> list[str]:
    """Sets aside as `distrust`, and then the newest that is left, if there is one before it.

    What made a loss no number may have been at work for a while before.

    Args:
        folder, since: as for `distrust`.

    Returns:
        The names of those that were set aside, the oldest first.

    Raises:
        MachineError: one cannot be renamed.
    """
    aside = distrust(folder, since)
    newest = newest_bundle(folder)
    older = [bundle for bundle in folder.glob("step-*") if step_of(bundle) < newest.step]
    return [*(distrust(folder, newest.step) if older else ()), *aside]
