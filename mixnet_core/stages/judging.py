"""The stages `validate` and `accept`: what the checkpoint reaches, and whether that will do."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.accepting import decide, paired, require_accepted
from mixnet_core.data.index import read_index
from mixnet_core.evaluate.answer_table import AnswerTable, read_table, write_table
from mixnet_core.evaluate.counting import Judged
from mixnet_core.evaluate.report import report_data, versions, with_decision
from mixnet_core.files import read_json
from mixnet_core.measuring import measure
from mixnet_core.recipe import Recipe
from mixnet_core.release.catalog import find_release
from mixnet_core.released import fetch_release, measure_release
from mixnet_core.reporting import report_is_there, write_report
from mixnet_core.run_dir import RunDir, Workspace
from mixnet_core.runs import finished, key_of, write_record
from mixnet_core.ticks import Tick, Watch, unwatched
from mixnet_core.train.metrics import read_metrics
from mixnet_core.values import (
    Decision,
    PreparedDataset,
    Selection,
    TrainedRun,
    Validation,
)


def validate(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    trained: TrainedRun,
    selection: Selection,
    watch: Watch = unwatched,
) -> Validation:
    """Measures the chosen checkpoint on the val split; writes every answer, and the report."""
    chosen = selection.chosen
    key = key_of(
        input=recipe.input.model_dump(mode="json"),
        dataset=dataset.fingerprint,
        checkpoint=chosen.model_dump(),
    )
    done = finished(run, "validate", key, Validation)
    if done and report_is_there(run):
        return done
    measured = measure(
        run.recipe,
        recipe,
        dataset,
        [chosen.weights],
        split="val",
        stage="validate",
        attempts=run.attempts("validate"),
        watch=watch,
    )
    images = read_index(Path(dataset.root), "val").paths
    table = AnswerTable(images, measured.answers[0])
    write_table(run.answers, table, dataset.classes)
    report = report_data(
        run=run.name,
        release=None,
        recipe=recipe,
        dataset=dataset,
        trained=trained,
        selection=selection,
        table=table,
        evaluated_per_second=measured.images_per_second,
        metrics=read_metrics(run.metrics),
        environment=versions() | {"engine": measured.engine},
    )
    write_report(run, dataset, report)
    validation = Validation(
        checkpoint=chosen,
        score=measured.scores[0],
        dataset_fingerprint=dataset.fingerprint,
        answers=str(run.answers),
        report_json=str(run.report_json),
        report_markdown=str(run.report_markdown),
        report_page=str(run.report_page),
        engine=measured.engine,
    )
    write_record(run, "validate", key, validation)
    return validation


def accept(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    validation: Validation,
    *,
    workspace: Workspace,
    releases: str,
    anyway: str | None = None,
    watch: Watch = unwatched,
) -> Decision:
    """Decides whether the checkpoint may be published (`accepting`), and adds that to the report.

    Args:
        releases: URI where the release that it replaces is looked up after the catalog.
        anyway: a reason to publish it whatever it reaches; recorded.

    Raises:
        NotAccepted: it falls short; the report says so too.
        MixnetError: the release that it replaces cannot be fetched or measured.
    """
    wanted = recipe.acceptance
    key = key_of(
        acceptance=wanted.model_dump(),
        anyway=anyway,
        dataset=dataset.fingerprint,
        checkpoint=validation.checkpoint.model_dump(),
        releases=releases if wanted.replaces else None,
    )
    decision = finished(run, "accept", key, Decision)
    if decision is None:
        pair = None
        if wanted.replaces is not None:
            there = _released_answers(wanted.replaces, run, dataset, workspace, releases, watch)
            ours = read_table(Path(validation.answers), dataset.classes)
            pair = paired(there, ours.rows)
        decision = decide(
            wanted, validation.score, replaced=wanted.replaces, pair=pair, override=anyway
        )
        write_record(run, "accept", key, decision)
    report = read_json(run.report_json)
    if report != (decided := with_decision(report, decision)):
        write_report(run, dataset, decided)
    require_accepted(decision)
    return decision


def _released_answers(
    name: str,
    run: RunDir,
    dataset: PreparedDataset,
    workspace: Workspace,
    releases: str,
    watch: Watch,
) -> Judged:
    """What a release answers to this run's val split, read as its own recipe says."""
    attempts = run.attempts("accept")
    there = fetch_release(
        find_release(name, releases),
        attempts,
        cache=workspace.weights,
        on_bytes=lambda done, total: watch(Tick("accept", done, total, "B", detail="weights")),
    )
    measured = measure_release(there, dataset, stage="accept", attempts=attempts, watch=watch)
    return measured.answers[0]
