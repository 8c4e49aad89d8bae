"""Figures of runs as the text that Prometheus scrapes, without a time beside any value.

The node exporter's textfile collector, which reads such files, refuses times. What is not known is
not there, so that nobody takes a 0 for a figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mixnet_core.runs.markup import visible
from mixnet_core.storage.uris import shown_words
from mixnet_core.train.figures import Figures


@dataclass(frozen=True)
class RunFigures:
    """Holds what is told of a run.

    Attributes:
        run: its name.
        recipe, variant: "" where its recipe cannot be read.
        at_work: whether a process works on it.
        figures: of its training.
        restarts: attempts of training after the first one; None where there was none.
        last_sign: when a rank last gave a sign of life, in seconds since 1970.
        val_top1: share on the val split.
    """

    run: str
    recipe: str
    variant: str
    at_work: bool
    figures: Figures
    restarts: int | None = None
    last_sign: float | None = None
    val_top1: float | None = None


# Name, type, and what it says; units are Prometheus's base units.
_METRICS = (
    ("mixnet_at_work", "gauge", "1 while a process works on the run."),
    ("mixnet_last_sign_of_life_timestamp_seconds", "gauge", "When a rank last gave one."),
    ("mixnet_restarts_total", "counter", "Attempts of training after the first one."),
    ("mixnet_steps_done", "gauge", "Optimizer steps done."),
    ("mixnet_steps", "gauge", "Optimizer steps of the whole training."),
    ("mixnet_epochs_done", "gauge", "Epochs done."),
    ("mixnet_epochs", "gauge", "Epochs of the whole training."),
    ("mixnet_loss", "gauge", "Training loss of rank 0 since the logged step before."),
    ("mixnet_epoch_loss", "gauge", "Mean training loss of the newest whole epoch."),
    ("mixnet_learning_rate", "gauge", "Learning rate of the newest logged step."),
    ("mixnet_images_per_second", "gauge", "Training images per second, all ranks."),
    ("mixnet_data_wait_ratio", "gauge", "Share of the time that rank 0 waits for images."),
    ("mixnet_select_top1_best_ratio", "gauge", "Best top-1 on the select split so far."),
    ("mixnet_val_top1_ratio", "gauge", "Top-1 on the val split."),
)


def prometheus_text(runs: Sequence[RunFigures]) -> str:
    """Returns the text of runs: every metric once, with a line a run."""
    lines: list[str] = []
    if runs:
        lines += ["# HELP mixnet_run_info What the run trains.", "# TYPE mixnet_run_info gauge"]
        lines += [
            f"mixnet_run_info{_labels(run=run.run, recipe=run.recipe, variant=run.variant)} 1"
            for run in runs
        ]
    values = [(run.run, dict(_values(run))) for run in runs]
    for name, kind, text in _METRICS:
        found = [(run, of[name]) for run, of in values if name in of]
        if found:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{_labels(run=run)} {value!r}" for run, value in found]
    return "".join(f"{line}\n" for line in lines)


def _values(run: RunFigures) -> Iterator[tuple[str, float]]:
    figures = run.figures
    found: dict[str, float | None] = {
        "mixnet_at_work": int(run.at_work),
        "mixnet_last_sign_of_life_timestamp_seconds": run.last_sign,
        "mixnet_restarts_total": run.restarts,
        "mixnet_steps_done": figures.step,
        "mixnet_steps": figures.steps,
        "mixnet_epochs_done": figures.epoch,
        "mixnet_epochs": figures.epochs,
        "mixnet_loss": figures.loss,
        "mixnet_epoch_loss": figures.epoch_loss,
        "mixnet_learning_rate": figures.lr,
        "mixnet_images_per_second": figures.images_per_second,
        "mixnet_data_wait_ratio": figures.data_wait,
        "mixnet_select_top1_best_ratio": figures.best_top1,
        "mixnet_val_top1_ratio": run.val_top1,
    }
    for name, value in found.items():
        if value is not None and math.isfinite(value):
            yield name, value


def _labels(**values: str) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())
    return f"{{{inside}}}"


def _escaped(text: str) -> str:
    plain = visible(shown_words(text))
    return plain.replace("\\", "\\\\").replace('"', '\\"')
