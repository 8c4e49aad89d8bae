"""The documented sequence with the real server and worker, on images that train in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from benchmarks.images.imagenet_archives import write_archives
from mixnet_core.checkpoints.bundle import newest_bundle
from mixnet_core.data.imagenet.unpacked import open_unpacked
from mixnet_core.processes import stopping
from mixnet_core.release.registry import read_release
from mixnet_core.runs.records import recorded
from mixnet_core.runs.values import TrainedRun
from mixnet_core.stages.table import STAGES
from tests.flows.conftest import (
    PROJECT,
    RUN,
    Deployed,
    as_options,
    asked,
    eventually,
    rows,
    set_up,
    stage_processes,
    tiny,
)

pytestmark = pytest.mark.slow


def test_a_run_with_a_killed_worker_resumes_and_publishes(
    deployed: Deployed, published: str
) -> None:
    run = deployed.workspace.run(RUN)
    assert deployed.state(published)["type"] == "COMPLETED"
    trained = recorded(run, "train", TrainedRun)
    assert trained.resumed_from_step > 0
    assert trained.epochs == 4
    release = read_release(f"{deployed.workspace.releases}/{RUN}")
    assert release.facts["val"]["count"] == 12
    assert eventually(lambda: deployed.logged(published, "SIGKILL"), 20)
    named = deployed.names(published)
    assert named["flow run"] == RUN
    stages = ("check", *(stage.name for stage in STAGES))
    assert set(named["task runs"]) == {f"{stage} {RUN}" for stage in stages}
    artifacts = deployed.artifacts(published)
    assert artifacts["tiny-train"]["data"] == 100.0
    assert "4 epochs on 2 ranks" in artifacts["tiny-train"]["description"]
    assert artifacts["tiny-curves"]["data"].startswith("data:image/png;base64,")
    assert artifacts["tiny-report"]["data"] == run.report_markdown.read_text()
    assert str(deployed.workspace.releases) in artifacts["tiny-release"]["description"]


def test_the_same_run_again_skips_every_stage_and_says_so(
    deployed: Deployed, published: str, images: Path
) -> None:
    again = deployed.run("mixnet/train", **tiny(images, RUN))
    assert deployed.final_state(again)["type"] == "COMPLETED"
    skipped = eventually(
        lambda: (lines := deployed.logged(again, "already done, skipped")) and len(lines) > 5
        and lines, 20,
    )  # fmt: skip
    stages = {line.partition(":")[0] for line in skipped}
    assert stages == {"prepare", "train", "select", "validate", "accept", "publish"}


def test_cancelling_a_training_run_saves_its_last_step_and_leaves_no_process(
    deployed: Deployed, images: Path
) -> None:
    flow_run = deployed.run("mixnet/train", **tiny(images, "cancelled", epochs=500))
    eventually(lambda: rows(deployed.workspace.run("cancelled"), "step"), 90)
    assert stage_processes(deployed.workspace)
    done = deployed.cli("flow-run", "cancel", flow_run)
    assert done.returncode == 0, done.stdout
    eventually(lambda: not stage_processes(deployed.workspace), 10)
    assert deployed.final_state(flow_run, 60)["type"] == "CANCELLED"
    run = deployed.workspace.run("cancelled")
    step = rows(run, "step")[-1]["step"]
    assert newest_bundle(run.checkpoints).step == step
    said = stopping.answer(run.attempts("train") / "attempt-001")
    assert (said or "").startswith(f"stopped on request (SIGTERM) after step {step},")


def test_archives_of_imagenet_are_unpacked_with_their_report_shown(
    deployed: Deployed, tmp_path: Path
) -> None:
    made = write_archives(tmp_path, classes=2, images_per_class=3, val_images=2, odd=False, side=64)
    files = {"train_tar": str(made.train_tar), "val_tar": str(made.val_tar)}
    run = deployed.run(
        "mixnet-imagenet/unpack", **files, val_labels=str(made.val_labels), subset=True
    )
    assert deployed.final_state(run)["type"] == "COMPLETED"
    unpacked = open_unpacked(deployed.workspace.imagenet)
    assert unpacked.counts == {"train": 6, "val": 2}
    shown = deployed.artifacts(run)["imagenet-report"]["data"]
    assert shown == Path(unpacked.report).read_text()


@pytest.mark.parametrize(("parameter", "value"), [("epoch", 3), ("epochs", 0), ("lr", "fast")])
def test_a_parameter_that_the_flow_does_not_have_or_allow_is_refused_before_a_run_exists(
    deployed: Deployed, parameter: str, value: object
) -> None:
    done = deployed.cli("deployment", "run", "mixnet/train", *as_options({parameter: value}))
    assert done.returncode != 0
    assert parameter in done.stdout
    assert "Traceback" not in done.stdout


def test_an_unknown_recipe_key_fails_the_run_at_once_with_one_line_that_names_it(
    deployed: Deployed,
) -> None:
    flow_run = deployed.run("mixnet/train", settings={"training.epocs": 3})
    state = deployed.final_state(flow_run)
    assert state["type"] == "FAILED"
    assert "RecipeError: the recipe has no key 'training.epocs'" in state["message"]
    assert "\n" not in state["message"]


def test_setting_up_again_changes_what_is_there_and_doubles_nothing(
    deployed: Deployed, tmp_path: Path
) -> None:
    before = deployed.cli("automation", "ls").stdout.count("zombies")
    template = deployed.cli("work-pool", "inspect", "mixnet", "--output", "json").stdout
    folder = json.loads(template)["base_job_template"]["variables"]["properties"]["working_dir"]
    set_up(deployed, Path(folder["default"]))
    assert deployed.cli("automation", "ls").stdout.count("zombies") == before == 1


def test_deploying_again_takes_back_the_limit_that_an_earlier_version_set(
    deployed: Deployed, tmp_path: Path
) -> None:
    document = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    (document["deployments"][1])["concurrency_limit"] = {
        "limit": 1,
        "collision_strategy": "ENQUEUE",
    }
    before = tmp_path / "prefect.yaml"
    before.write_text(yaml.safe_dump(document))

    def limit(*options: str) -> object:
        done = deployed.cli("--no-prompt", "deploy", "--name", "finetune", *options)
        assert done.returncode == 0, done.stdout
        found = asked("GET", f"{deployed.api}/deployments/name/mixnet/finetune")
        assert found["work_queue_name"] == "finetune"
        return found["global_concurrency_limit"]

    assert limit("--prefect-file", str(before)) is not None
    assert limit() is None
