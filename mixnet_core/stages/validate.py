"""The stage `validate`: what the chosen checkpoint reaches on the val split."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.index import overlap_of, read_index
from mixnet_core.data.near_duplicates import near_duplicates_of
from mixnet_core.data.seen import Seen, seen_in_training, write_seen
from mixnet_core.evaluate.counting import score
from mixnet_core.evaluate.job import Measured
from mixnet_core.evaluate.measured_on import measured_on
from mixnet_core.evaluate.prediction_table import PredictionTable, read_table, write_table
from mixnet_core.evaluate.report.data import report_data, versions
from mixnet_core.evaluate.report.write import report_is_there, write_report
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.runs.records import exclusive, finished, forget, write_record
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import (
    PreparedDataset,
    Selection,
    TrainedRun,
    Validation,
)
from mixnet_core.stages.context import Context
from mixnet_core.stages.made_from import validate_inputs
from mixnet_core.stages.measuring import measured_as_led, measuring
from mixnet_core.stages.start_seen import seen_by_start
from mixnet_core.storage.files import sha256_of
from mixnet_core.train.metrics import read_metrics


def validate(
    context: Context,
    dataset: PreparedDataset,
    trained: TrainedRun,
    selection: Selection,
    host: HostRanks | None = None,
) -> Validation:
    """Measures the chosen checkpoint on the val split; writes predictions and the report.

    Args:
        host: which of several hosts this one is, as of `stages.train`; each calls it then, and
            measures its part of the images. None: this one measures all of them.

    Raises:
        TransientError: another process works on this run, or host 0 does not.
        InputError: what the initial weights had seen is not there any more.
        MixnetError: as `evaluate.job.measure`.
    """
    recipe, run = context.recipe, context.run
    chosen = selection.chosen
    inputs = validate_inputs(recipe, dataset, chosen)

    def on_record() -> Validation | None:
        return finished(run, "validate", inputs, Validation)

    if host is not None and not host.leads:
        return measured_as_led(context, "validate", host, Validation, on_record)
    with exclusive(run) as lock:
        done = on_record()
        if done and report_is_there(run):
            if not done.answers_sha256:
                done = _with_digest(run, dataset, done)
                write_record(run, "validate", inputs, done)
            if sha256_of(run.predictions) == done.answers_sha256 and _seen_stands(run, done):
                return done
        # Before the measurement, which would be thrown away.
        start = seen_by_start(run, recipe)
        with measuring(context, dataset, "validate", host, lock) as measure:
            measured = measure([chosen.weights], "val")
            validation = _written(context, dataset, trained, selection, measured, start)
            write_record(run, "validate", inputs, validation)
            measure.end(validation)
    return validation


def _written(
    context: Context,
    dataset: PreparedDataset,
    trained: TrainedRun,
    selection: Selection,
    measured: Measured,
    start: Seen,
) -> Validation:
    """Writes predictions and the report.

    Args:
        start: what the initial weights had seen.
    """
    recipe, run, chosen = context.recipe, context.run, selection.chosen
    # What they say is about files that are now written anew, one after the other.
    forget(run, "validate", "accept")
    images = read_index(Path(dataset.root), "val").paths
    table = PredictionTable(images, measured.predictions[0])
    write_table(run.predictions, table, dataset.classes)
    seen = seen_in_training(Path(dataset.root))
    assert seen is not None, "what a run trains on has all splits"
    seen |= start
    write_seen(run.seen, seen)
    on = measured_on(recipe.data, dataset, table.rows, seen)
    report = report_data(
        run=run.name,
        release=None,
        recipe=recipe,
        dataset=dataset.model_copy(update={"overlap": overlap_of(dataset)}),
        trained=trained,
        selection=selection,
        table=table,
        measured_on=on,
        near_duplicates=near_duplicates_of(Path(dataset.root)),
        evaluated_per_second=measured.images_per_second,
        metrics=read_metrics(run.metrics),
        environment=versions() | {"engine": measured.engine},
    )
    write_report(run, dataset, report)
    return Validation(
        checkpoint=chosen,
        score=measured.scores[0],
        dataset_fingerprint=dataset.fingerprint,
        answers=str(run.predictions),
        answers_sha256=sha256_of(run.predictions),
        report_json=str(run.report_json),
        report_markdown=str(run.report_markdown),
        report_page=str(run.report_page),
        engine=measured.engine,
        measured_on=on,
        seen_sha256=sha256_of(run.seen),
    )


def _seen_stands(run: RunDir, done: Validation) -> bool:
    """Tells whether the digests of what was seen are the record's, where it has them."""
    if not done.seen_sha256:
        return True
    return run.seen.is_file() and sha256_of(run.seen) == done.seen_sha256


def _with_digest(run: RunDir, dataset: PreparedDataset, validation: Validation) -> Validation:
    """Adds the digest that earlier versions' records lack, if the predictions are the record's."""
    rows = read_table(run.predictions, dataset.classes).rows
    if score(rows).model_dump(exclude={"loss"}) != validation.score.model_dump(exclude={"loss"}):
        return validation
    return validation.model_copy(update={"answers_sha256": sha256_of(run.predictions)})
