"""The stages `validate` and `accept`: what the checkpoint reaches, and whether that will do."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.accepting import decide, decided_on, differences, paired, require_accepted
from mixnet_core.data.index import read_index
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.evaluate.answer_table import AnswerTable, read_table, write_table
from mixnet_core.evaluate.counting import Judged, score
from mixnet_core.evaluate.report import report_data, versions, with_decision
from mixnet_core.files import read_json, sha256_of
from mixnet_core.measuring import measure
from mixnet_core.recipe import Recipe
from mixnet_core.release.catalog import find_release
from mixnet_core.released import fetch_release, measure_release
from mixnet_core.reporting import report_is_there, write_report
from mixnet_core.run_dir import RunDir, Workspace
from mixnet_core.runs import exclusive, finished, forget, recorded, write_record
from mixnet_core.stages.made_from import accept_inputs, validate_inputs
from mixnet_core.ticks import Tick, Watch, unwatched
from mixnet_core.train.metrics import read_metrics
from mixnet_core.uris import refuse_credentials
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
    """Measures the chosen checkpoint on the val split; writes every answer, and the report.

    Raises:
        TransientError: another process works on this run.
        MixnetError: as `measuring.measure`.
    """
    chosen = selection.chosen
    inputs = validate_inputs(recipe, dataset, chosen)
    with exclusive(run) as lock:
        done = finished(run, "validate", inputs, Validation)
        if done and report_is_there(run):
            if not done.answers_sha256:
                done = _with_digest(run, dataset, done)
                write_record(run, "validate", inputs, done)
            if sha256_of(run.answers) == done.answers_sha256:
                return done
        measured = measure(
            recipe,
            dataset,
            [chosen.weights],
            split="val",
            stage="validate",
            attempts=run.attempts("validate"),
            keep_open=(lock,),
            watch=watch,
        )
        # What they say is about files that are now written anew, one after the other.
        forget(run, "validate", "accept")
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
            answers_sha256=sha256_of(run.answers),
            report_json=str(run.report_json),
            report_markdown=str(run.report_markdown),
            report_page=str(run.report_page),
            engine=measured.engine,
        )
        write_record(run, "validate", inputs, validation)
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
        InputError: the run's predictions and report are another validation's by now; the reason
            holds credentials.
        TransientError: another process works on this run.
        MixnetError: the release that it replaces cannot be fetched or measured.
    """
    refuse_credentials(anyway)
    wanted = recipe.acceptance
    inputs = accept_inputs(recipe, dataset, validation, releases=releases, override=anyway)
    with exclusive(run) as lock:
        report = evidence(run, validation)
        decision = finished(run, "accept", inputs, Decision)
        if decision is None:
            pair = None
            if wanted.replaces is not None:
                before = _released_answers(
                    wanted.replaces, run, dataset, workspace, releases, (lock,), watch
                )
                ours = read_table(Path(validation.answers), dataset.classes)
                pair = paired(before, ours.rows)
            judged = decide(
                wanted, validation.score, replaced=wanted.replaces, pair=pair, override=anyway
            )
            decision = decided_on(judged, wanted, validation)
            forget(run, "accept")
            write_report(run, dataset, with_decision(report, decision))
            write_record(run, "accept", inputs, decision)
        elif report != (decided := with_decision(report, decision)):
            write_report(run, dataset, decided)
    require_accepted(decision)
    return decision


def _with_digest(run: RunDir, dataset: PreparedDataset, validation: Validation) -> Validation:
    """Adds the digest that earlier versions' records lack, if the predictions are the record's."""
    rows = read_table(run.answers, dataset.classes).rows
    if score(rows).model_dump(exclude={"loss"}) != validation.score.model_dump(exclude={"loss"}):
        return validation
    return validation.model_copy(update={"answers_sha256": sha256_of(run.answers)})


def standing_decision(
    recipe: Recipe, run: RunDir, validation: Validation, anyway: str | None
) -> Decision | None:
    """Returns the run's decision if it is on this validation and on what is demanded now.

    Args:
        anyway: an override that it must have; None: whether it has one or not.
    """
    try:
        decision = recorded(run, "accept", Decision)
    except (InputError, IntegrityError):
        return None
    holds = not differences(decision, recipe.acceptance, validation)
    return decision if holds and anyway in (None, decision.override) else None


def evidence(run: RunDir, validation: Validation) -> dict[str, object]:
    """Reads the run's report, once it is sure that it and the predictions are this validation's.

    Raises:
        InputError: they are another one's, which was made since; or they are gone.
        IntegrityError: the report cannot be read.
    """
    if not report_is_there(run) or sha256_of(run.answers) != validation.answers_sha256:
        raise InputError(
            f"{run.answers} is not what this validation predicted: run `mixnet validate --run "
            f"{run.name}` again"
        )
    report: dict[str, object] = read_json(run.report_json)
    described = report.get("checkpoint")
    sha256 = described.get("sha256") if isinstance(described, dict) else None
    if sha256 != validation.checkpoint.weights_sha256:
        raise InputError(
            f"{run.report_json} is on another checkpoint than this validation: run `mixnet "
            f"validate --run {run.name}` again"
        )
    return report


def _released_answers(
    name: str,
    run: RunDir,
    dataset: PreparedDataset,
    workspace: Workspace,
    releases: str,
    keep_open: tuple[int, ...],
    watch: Watch,
) -> Judged:
    """Returns what a release answers to this run's val split, read as its own recipe says."""
    attempts = run.attempts("accept")
    released = fetch_release(
        find_release(name, releases),
        attempts,
        cache=workspace.weights,
        on_bytes=lambda done, total: watch(Tick("accept", done, total, "B", detail="weights")),
    )
    measured = measure_release(
        released, dataset, stage="accept", attempts=attempts, keep_open=keep_open, watch=watch
    )
    return measured.answers[0]
