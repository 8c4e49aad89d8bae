"""The documented sequence with the real server and worker, on images that train in seconds."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.imagenet_archives import write_archives
from mixnet_core.data.imagenet.unpacked import open_unpacked
from mixnet_core.release.publish import read_release
from mixnet_core.runs import recorded
from mixnet_core.values import TrainedRun
from tests.data.samples import write_image_folder
from tests.flows.conftest import (
    PREFECT,
    PROJECT,
    Deployed,
    as_options,
    eventually,
    rows,
    set_up,
    stage_processes,
)

pytestmark = pytest.mark.slow

RUN = "tiny"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    return write_image_folder(
        folder, {"ant": 16, "bee": 16, "cat": 16}, {"ant": 4, "bee": 4, "cat": 4}
    )


def tiny(images: Path, run: str, **changes: Any) -> dict[str, Any]:
    return {
        "data": str(images),
        "run": run,
        "epochs": 4,
        "global_batch": 4,
        "ranks": 2,
        "settings": {"input.image_size": 8, "training.log_every_steps": 1},
        **changes,
    }


@pytest.fixture(scope="module")
def published(deployed: Deployed, images: Path) -> str:
    """`prefect deployment run --watch`, with a worker of msrun killed on the way; the run's id."""
    run = deployed.workspace.run(RUN)
    command = [
        *PREFECT, "deployment", "run", "mixnet/train", "--watch", *as_options(tiny(images, RUN))
    ]  # fmt: skip
    watching = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=deployed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually(lambda: rows(run, "epoch"), 240)
    # The whole bundle is there only after the row.
    eventually(lambda: list(run.checkpoints.glob("[!.]*")), 20)
    worker_of(deployed, "1").send_signal(signal.SIGKILL)
    output, _ = watching.communicate(timeout=400)
    assert watching.returncode == 0, output
    found = [word for word in output.replace("/", " ").split() if word.count("-") == 4]
    return found[0]


def worker_of(deployed: Deployed, rank: str) -> psutil.Process:
    return next(
        process
        for process in stage_processes(deployed.workspace)
        if process.environ().get("RANK_ID") == rank
        and process.environ().get("MS_ROLE") == "MS_WORKER"
    )


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
    artifacts = deployed.artifacts(published)
    assert artifacts["tiny-train"]["data"] == 100.0
    assert "4 epochs on 2 ranks" in artifacts["tiny-train"]["description"]
    assert artifacts["tiny-report"]["data"] == run.report_markdown.read_text()
    assert str(deployed.workspace.releases) in artifacts["tiny-release"]["description"]


def test_the_same_run_again_skips_every_stage_and_says_so(
    deployed: Deployed, published: str, images: Path
) -> None:
    again = deployed.run("mixnet/train", **tiny(images, RUN))
    assert deployed.final_state(again)["type"] == "COMPLETED"
    skipped = eventually(
        lambda: (lines := deployed.logged(again, "already done, skipped")) and len(lines) > 4
        and lines, 20,
    )  # fmt: skip
    stages = {line.partition(":")[0] for line in skipped}
    assert stages == {"prepare", "train", "select", "validate", "publish"}


def test_cancelling_a_training_run_leaves_no_process(deployed: Deployed, images: Path) -> None:
    flow_run = deployed.run("mixnet/train", **tiny(images, "cancelled", epochs=500))
    eventually(lambda: rows(deployed.workspace.run("cancelled"), "step"), 90)
    assert stage_processes(deployed.workspace)
    done = deployed.cli("flow-run", "cancel", flow_run)
    assert done.returncode == 0, done.stdout
    eventually(lambda: not stage_processes(deployed.workspace), 10)
    assert deployed.final_state(flow_run, 60)["type"] == "CANCELLED"


def test_revalidation_passes_honest_releases_and_names_the_one_that_claims_more(
    deployed: Deployed, published: str, tmp_path: Path
) -> None:
    shutil.copytree(deployed.workspace.releases / RUN, tmp_path / RUN)
    honest = deployed.run("mixnet-revalidate/releases", releases=str(tmp_path))
    assert deployed.final_state(honest)["type"] == "COMPLETED"
    assert "holds" in deployed.artifacts(honest)["revalidation"]["data"]

    boast(tmp_path / RUN, tmp_path / "boastful")
    both = deployed.run("mixnet-revalidate/releases", releases=str(tmp_path))
    state = deployed.final_state(both)
    assert state["type"] == "FAILED"
    assert "1 of 2 releases did not hold: boastful regressed" in state["message"]
    assert "\n" not in state["message"]


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


def boast(release: Path, copy: Path) -> None:
    """The same release under another name, with a top-1 that it does not reach."""
    shutil.copytree(release, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["name"] = copy.name
    manifest["facts"]["val"]["top1"] = 1.0
    (copy / "manifest.json").write_text(json.dumps(manifest))


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
