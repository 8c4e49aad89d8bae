"""The figures of all runs of a workspace, for whoever scrapes them."""

from __future__ import annotations

from contextlib import suppress

from mixnet_core.errors import MixnetError
from mixnet_core.recipe.recipe import Recipe, stored_recipe
from mixnet_core.runs.records import recorded
from mixnet_core.runs.run_dir import RunDir, Workspace, is_name
from mixnet_core.runs.values import Validation
from mixnet_core.stages.workspace_use import is_locked
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.train.figures import Figures, figures_of
from mixnet_core.train.metrics import read_metrics
from mixnet_core.train.prometheus import RunFigures
from mixnet_core.train.recorder import run_figures


def scraped(workspace: Workspace) -> list[RunFigures]:
    """Returns what is told of each run, by name; of one that cannot be read as much as can.

    Raises:
        MachineError: the workspace cannot be read.
    """
    folder = workspace.root / "runs"
    with os_errors_explained(folder, "read"):
        if not folder.is_dir():
            return []
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return [_scraped(workspace.run(name)) for name in names if is_name(name)]


def _scraped(run: RunDir) -> RunFigures:
    recipe: Recipe | None = None
    validation: Validation | None = None
    with suppress(MixnetError):
        recipe = stored_recipe(run.recipe)
    figures = Figures()
    # Somebody's own file under that name holds other rows.
    with suppress(OSError, KeyError, TypeError, ValueError, ZeroDivisionError):
        figures = figures_of(read_metrics(run.metrics))
    with suppress(MixnetError):
        validation = recorded(run, "validate", Validation)
    return run_figures(
        run,
        recipe,
        figures,
        at_work=is_locked(run),
        val_top1=validation.score.top1 if validation else None,
    )
