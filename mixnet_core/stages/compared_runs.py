"""The runs of a workspace beside each other: how each trained, and in what their recipes differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from mixnet_core.errors import MixnetError
from mixnet_core.evaluate.report.data import watched_curves
from mixnet_core.evaluate.report.points import Points, finite
from mixnet_core.evaluate.report.runs_page import runs_page
from mixnet_core.recipe.recipe import Recipe, stored_recipe
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.stages.comparison import NAMES_ONLY, flat
from mixnet_core.stages.workspace_use import KeptRun
from mixnet_core.storage.uris import shown_value
from mixnet_core.train.figures import Figures, figures_of
from mixnet_core.train.metrics import read_metrics


@dataclass(frozen=True)
class ComparedRun:
    """Describes a run for a comparison.

    Attributes:
        kept: what the workspace says of it.
        variant: of its network; "" where its recipe cannot be read.
        figures: of its training.
        curves: loss, top1 in percent, speed in img/s -> (epoch, value), as far as there are any.
        settings: dotted key of its recipe -> value; none where it cannot be read.
    """

    kept: KeptRun
    variant: str = ""
    figures: Figures = field(default_factory=Figures)
    curves: Mapping[str, Points] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Returns the run's name."""
        return self.kept.name

    @property
    def state(self) -> str:
        """Says how far it is, and whether a process works on it."""
        trains = self.kept.stage in ("", "prepare", "fetch") and self.figures.step is not None
        if self.kept.at_work:
            return "training" if trains else f"at work, {self._reached}"
        return "stopped in training" if trains else self._reached

    @property
    def _reached(self) -> str:
        return f"{self.kept.stage} done" if self.kept.stage else "nothing done"


def compared_runs(workspace: Workspace, runs: Sequence[KeptRun]) -> list[ComparedRun]:
    """Reads what runs left; of one that cannot be read there is as much as can.

    Args:
        runs: of the workspace.

    Returns:
        The run that was written last comes first.
    """
    newest_first = sorted(runs, key=lambda run: (-run.touched, run.name))
    return [_compared(workspace.run(kept.name), kept) for kept in newest_first]


def differences(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str | None]]]:
    """Lists the recipe keys in which runs differ.

    Args:
        runs: whose recipes can be read.

    Returns:
        Key, and each run's value as it may be shown; None where its recipe has none.
    """
    found = []
    for key in dict.fromkeys(key for run in runs for key in run.settings):
        values = [shown_value(run.settings[key]) if key in run.settings else None for run in runs]
        if len(set(values)) > 1:
            found.append((key, values))
    return found


def usual(values: Sequence[str | None]) -> str | None:
    """Returns the value that most have; None where no two have the same."""
    counted = Counter(value for value in values if value is not None).most_common(2)
    if not counted or counted[0][1] == 1 or (len(counted) > 1 and counted[0][1] == counted[1][1]):
        return None
    return counted[0][0]


def _compared(run: RunDir, kept: KeptRun) -> ComparedRun:
    recipe: Recipe | None = None
    with suppress(MixnetError):
        recipe = stored_recipe(run.recipe)
    try:
        rows = read_metrics(run.metrics)
        figures = figures_of(rows)
        curves = _curves(rows, figures)
    except (OSError, KeyError, TypeError, ValueError, ZeroDivisionError):
        # Somebody's own file under that name.
        figures, curves = Figures(), {}
    return ComparedRun(
        kept,
        variant=recipe.network.variant if recipe else "",
        figures=figures,
        curves=curves,
        settings=_settings(recipe) if recipe else {},
    )


def _curves(rows: Sequence[Mapping[str, Any]], figures: Figures) -> dict[str, Points]:
    """Returns a run's curves over its epochs: steps of runs with other batches are other steps."""
    found = watched_curves(rows)
    by_epoch = [{**row, "step": row["epoch"]} for row in found["epochs"]]
    of_steps = figures.epochs / figures.steps if figures.epochs and figures.steps else None
    # No epoch has ended yet.
    losses = finite(by_epoch, "loss") or _by_epochs(finite(found["steps"], "loss"), of_steps)
    return {
        "loss": losses,
        "top1": [(row["epoch"], 100 * row["top1"]) for row in found["scores"]],
        "speed": _by_epochs(finite(found["speeds"], "images_per_second"), of_steps),
    }


def _by_epochs(points: Points, of_steps: float | None) -> Points:
    return [(step * of_steps, value) for step, value in points] if of_steps else ()


def _settings(recipe: Recipe) -> dict[str, Any]:
    return flat(recipe.model_dump(mode="json", exclude=set(NAMES_ONLY)))


def comparison_page(runs: Sequence[ComparedRun], *, now: float) -> str:
    """Returns runs as one HTML page.

    Args:
        now: seconds since 1970.
    """
    rows = [
        {
            **asdict(run.figures),
            "name": run.name,
            "recipe": run.kept.recipe,
            "variant": run.variant,
            "state": run.state,
            "at_work": run.kept.at_work,
            "val_top1": run.kept.top1,
            "written": _time(run.kept.touched),
            "curves": run.curves,
        }
        for run in runs
    ]
    readable = [run for run in runs if run.settings]
    table = [(key, values, usual(values)) for key, values in differences(readable)]
    names = [run.name for run in readable]
    return runs_page(rows, names, table, title="Runs", made=f"made {_time(now)} UTC")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
