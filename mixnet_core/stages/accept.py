"""The stage `accept`: whether what the checkpoint reaches will do."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.evaluate.counting import Judged
from mixnet_core.evaluate.prediction_table import read_table
from mixnet_core.evaluate.report.data import with_decision
from mixnet_core.evaluate.report.write import write_report
from mixnet_core.release.catalog import find_release, resolved_name
from mixnet_core.runs.records import exclusive, finished, forget, recorded, write_record
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import (
    Decision,
    PreparedDataset,
    Validation,
)
from mixnet_core.stages.acceptance import decide, decided_on, differences, paired, require_accepted
from mixnet_core.stages.context import Context
from mixnet_core.stages.demand import judged_demands, judged_images
from mixnet_core.stages.evidence import evidence
from mixnet_core.stages.made_from import accept_inputs
from mixnet_core.stages.release_to_measure import fetch_release, measure_release
from mixnet_core.storage.uris import refuse_credentials


def accept(
    context: Context,
    dataset: PreparedDataset,
    validation: Validation,
    override: str | None = None,
) -> Decision:
    """Decides whether the checkpoint may be published (`stages.acceptance`); adds it to the report.

    Args:
        override: a reason to publish it whatever it reaches; recorded.

    Raises:
        NotAccepted: it falls short; the report says so too.
        InputError: the run's predictions and report are another validation's by now; the reason
            holds credentials.
        TransientError: another process works on this run.
        MixnetError: the release that it replaces cannot be fetched or measured.
    """
    refuse_credentials(override)
    recipe, run, wanted = context.recipe, context.run, context.recipe.acceptance
    replaced = wanted.replaces and resolved_name(wanted.replaces, context.registry)
    inputs = accept_inputs(
        recipe,
        dataset,
        validation,
        registry=context.registry,
        override=override,
        replaced=replaced,
    )
    with exclusive(run) as lock:
        report = evidence(run, validation)
        decision = finished(run, "accept", inputs, Decision)
        if decision is None:
            ours = read_table(Path(validation.answers), dataset.classes).rows
            pair = None
            if replaced is not None:
                before = _released_predictions(replaced, context, dataset, (lock,))
                pair = paired(before, ours)
            judged = decide(
                wanted,
                validation.score,
                replaced=replaced,
                pair=pair,
                further=(
                    *judged_images(wanted, dataset),
                    *judged_demands(wanted, ours, dataset.classes),
                ),
                override=override,
            )
            decision = decided_on(judged, wanted, validation)
            forget(run, "accept")
            write_report(run, dataset, with_decision(report, decision))
            write_record(run, "accept", inputs, decision)
        elif report != (decided := with_decision(report, decision)):
            write_report(run, dataset, decided)
    require_accepted(decision)
    return decision


def standing_decision(
    context: Context, validation: Validation, override: str | None
) -> Decision | None:
    """Returns the run's decision if it is on this validation and on what is demanded now.

    Args:
        override: what it must have; None: whether it has one or not.
    """
    try:
        decision = recorded(context.run, "accept", Decision)
    except (InputError, IntegrityError):
        return None
    holds = not differences(decision, context.recipe.acceptance, validation)
    return decision if holds and override in (None, decision.override) else None


def _released_predictions(
    name: str, context: Context, dataset: PreparedDataset, keep_open: tuple[int, ...]
) -> Judged:
    """Returns what a release predicts of this run's val split, read as its own recipe says."""
    watch, attempts = context.watch, context.run.attempts("accept")
    released = fetch_release(
        find_release(name, context.registry),
        attempts,
        cache=context.workspace.weights,
        on_bytes=lambda done, total: watch(Tick("accept", done, total, "B", detail="weights")),
    )
    measured = measure_release(
        released, dataset, stage="accept", attempts=attempts, keep_open=keep_open, watch=watch
    )
    return measured.predictions[0]
