"""A stage never takes a result that was made from something else than what stands before it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.recipe.recipe import Recipe, load_recipe, stored_recipe
from mixnet_core.runs.records import forget, recorded
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import Decision, Validation
from mixnet_core.stages.accept import accept
from mixnet_core.stages.acceptance import decided_on
from mixnet_core.stages.context import Context
from mixnet_core.stages.made_from import validate_inputs
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.publish import publish as publish_stage
from mixnet_core.stages.validate import validate
from tests.stages.orders import STAGES, finished_run, rows_of_all
from tests.tiny import FinishedJob, copied, mixnet

_ = "done"
ANEW = "decides anew"
TRAIN, SELECT, VALIDATE = "refuses train", "refuses select", "refuses validate"
TABLE = {
    # again                         prepare fetch train  select validate accept    publish
    "nothing": (_, _, _, _, _, _, _),
    "prepare, other images": (_, _, "refuses", TRAIN, TRAIN, TRAIN, TRAIN),
    "fetch, other weights": (_, _, "refuses", TRAIN, TRAIN, TRAIN, TRAIN),
    "train, other checkpoints": (_, _, _, _, SELECT, SELECT, SELECT),
    "select, another one": (_, _, _, _, _, VALIDATE, VALIDATE),
    "validate, other predictions": (_, _, _, _, _, ANEW, ANEW),
    "accept, overridden": (_, _, _, _, _, ANEW, _),
    "--set selection.policy": (_, _, _, _, SELECT, SELECT, SELECT),
    "--set acceptance.min_top1": (_, _, _, _, _, ANEW, ANEW),
}


def test_what_was_done_again_is_noticed_by_every_stage_after_it() -> None:
    assert {again: tuple(cells) for again, *cells in rows_of_all()} == TABLE
    assert all(len(cells) == len(STAGES) for cells in TABLE.values())


def test_a_refusal_names_what_is_another_one_and_the_command(tmp_path: Path) -> None:
    done = finished_run(tmp_path)
    done.train("e")
    with pytest.raises(
        InputError,
        match="stage select of run r was done with another checkpoints than stands before it now: "
        "run `mixnet select --run r` again",
    ):
        done.records.selection()


def test_a_record_without_inputs_is_taken_by_its_key_alone(tmp_path: Path) -> None:
    """As the version before wrote it."""
    done = finished_run(tmp_path)
    path = done.run.record("select")
    record = json.loads(path.read_text())
    del record["inputs"]
    path.write_text(json.dumps(record))
    assert done.records.selection().chosen.step == 1
    done.train("e")
    with pytest.raises(InputError, match="stage select of run r was done with another input and"):
        done.records.selection()


def test_a_validation_without_a_digest_is_not_taken(tmp_path: Path) -> None:
    done = finished_run(tmp_path)
    path = done.run.record("validate")
    record = json.loads(path.read_text())
    del record["result"]["answers_sha256"]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"no digest of its predictions: run `mixnet validate"):
        done.records.validation()


@pytest.fixture
def run(finished_job: FinishedJob, tmp_path: Path) -> RunDir:
    """A copy of a real finished run, to be changed."""
    shutil.copytree(finished_job.run_dir, tmp_path / "runs" / "tiny")
    run = RunDir(tmp_path / "runs" / "tiny")
    path = run.record("validate")
    record = json.loads(path.read_text())
    paths = {"answers": run.predictions, "report_json": run.report_json}
    record["result"] |= {name: str(path) for name, path in paths.items()}
    path.write_text(json.dumps(record))
    return run


def context_of(run: RunDir, recipe: Recipe | None = None) -> Context:
    workspace = Workspace(run.root.parents[1])
    return Context(recipe or stored_recipe(run.recipe), run, workspace, str(run.root / "releases"))


def publish(run: RunDir, decision: Decision, validation: Validation | None = None) -> None:
    recipe = stored_recipe(run.recipe)
    records = OnRecord(recipe, run)
    publish_stage(
        context_of(run),
        records.dataset(),
        validation or records.validation(),
        decision,
    )


def test_a_decision_on_other_weights_publishes_nothing(run: RunDir) -> None:
    decision = recorded(run, "accept", Decision)
    other = decision.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(InputError, match="made on another checkpoint's weights"):
        publish(run, other)
    assert not (run.root / "releases").exists()
    publish(run, decision)


def test_a_decision_of_an_earlier_version_publishes_nothing(run: RunDir) -> None:
    decision = recorded(run, "accept", Decision)
    before = Decision(checks=decision.checks)
    with pytest.raises(InputError, match="or before such things were recorded"):
        publish(run, before)


@pytest.mark.parametrize("what", ["answers", "report", "weights"])
def test_files_that_changed_since_the_decision_are_not_published(
    run: RunDir, what: str, tmp_path: Path
) -> None:
    validation = recorded(run, "validate", Validation)
    if what == "answers":
        run.predictions.write_text(run.predictions.read_text() + "\n")
    elif what == "report":
        report = json.loads(run.report_json.read_text())
        report["checkpoint"]["sha256"] = "0" * 64
        run.report_json.write_text(json.dumps(report))
    else:
        bundle = tmp_path / "bundle"
        bundle.mkdir()
        (bundle / "weights.ckpt").write_bytes(b"others")
        checkpoint = validation.checkpoint.model_copy(update={"path": str(bundle)})
        validation = validation.model_copy(update={"checkpoint": checkpoint})
    with pytest.raises((InputError, IntegrityError), match=r"again|restore"):
        publish(run, recorded(run, "accept", Decision), validation)
    assert not (run.root / "releases").exists()


def test_a_recipe_that_is_not_the_runs_is_not_published_with_it(run: RunDir) -> None:
    validation = recorded(run, "validate", Validation)
    changed = load_recipe(str(run.recipe), {"acceptance.min_top1": 0.05})
    wanted = changed.acceptance
    with pytest.raises(InputError, match="says another recipe than is published"):
        publish_stage(
            context_of(run, changed),
            OnRecord(stored_recipe(run.recipe), run).dataset(),
            validation,
            decided_on(recorded(run, "accept", Decision), wanted, validation),
        )


def test_a_finished_validation_of_the_version_before_is_taken_with_its_digest_added(
    run: RunDir,
) -> None:
    recipe = stored_recipe(run.recipe)
    records = OnRecord(recipe, run)
    path = run.record("validate")
    record = json.loads(path.read_text())
    digest = record["result"].pop("answers_sha256")
    path.write_text(json.dumps(record))
    again = validate(context_of(run), records.dataset(), records.trained(), records.selection())
    assert again.reused
    assert again.answers_sha256 == digest
    assert records.validation().answers_sha256 == digest


def test_a_validation_that_was_interrupted_leaves_no_record_for_others_to_take(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = stored_recipe(run.recipe)
    records = OnRecord(recipe, run)
    dataset, trained, selection = records.dataset(), records.trained(), records.selection()
    other = next(c.checkpoint for c in selection.candidates if c.checkpoint != selection.chosen)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mixnet_core.stages.validate.write_report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        validate(context_of(run), dataset, trained, selection.model_copy(update={"chosen": other}))
    # What answers.csv says is the other checkpoint's by now.
    for stage in ("validate", "accept"):
        assert not run.record(stage).exists()


def test_accept_refuses_predictions_that_are_another_validations_by_now(run: RunDir) -> None:
    recipe = stored_recipe(run.recipe)
    records = OnRecord(recipe, run)
    validation = records.validation()
    run.predictions.write_text(run.predictions.read_text() + "\n")
    with pytest.raises(InputError, match="is not what this validation predicted"):
        accept(context_of(run), records.dataset(), validation)


@pytest.mark.slow
def test_the_command_line_publishes_no_checkpoint_under_anothers_decision(
    finished_job: FinishedJob, tmp_path: Path
) -> None:
    folder, to = copied(finished_job, tmp_path / "job"), f"--publish-to={tmp_path / 'releases'}"

    def does(*arguments: str) -> str:
        done = mixnet(*arguments, "--run=tiny", cwd=folder)
        return f"{done.returncode} {done.stderr.strip().splitlines()[-1]}"

    chosen = finished_job.results["select"]["chosen"]["epoch"]
    assert (
        does("select", f"--set=selection.policy={'last' if chosen == 1 else 'mean_last'}")[0] == "0"
    )
    assert "stage validate of run tiny was done with another checkpoint" in does("accept")
    assert "stage validate of run tiny was done with another checkpoint" in does("publish", to)
    assert does("validate")[0] == "0"
    # The decision that is on record was on the other one.
    refused = does("publish", to, "--set=acceptance.min_top1=0.999")
    assert refused.startswith("8 mixnet: not accepted: top-1")
    assert not (tmp_path / "releases").exists()
    assert does("publish", to, "--accept-anyway=shown")[0] == "0"
    # Published again, the override that is on record stands.
    assert "(already done, skipped)" in does("publish", to)


def test_forgetting_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    forget(RunDir(tmp_path), "validate")


def test_how_images_are_read_is_part_of_what_a_validation_is_made_from(tmp_path: Path) -> None:
    done = finished_run(tmp_path)
    chosen = done.records.selection().chosen
    now = validate_inputs(done.recipe, done.records.dataset(), chosen)
    before = validate_inputs(
        done.recipe.model_copy(update={"rules": 1}), done.records.dataset(), chosen
    )
    assert now != before
