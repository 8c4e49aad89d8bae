"""What earlier versions left is read: a workspace with a dataset, weights, a run and releases.

The archive was made by the version of 2026-11-28: a run `old` that started from the release
`zeros`, whose weights are all 0, with a learning rate of nearly 0, so that it compresses.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import mixnet_core
from mixnet_core.checkpoints.bundle import complete_bundles, read_contents
from mixnet_core.recipe.recipe import stored_recipe
from mixnet_core.runs.records import open_run
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.train.metrics import read_metrics
from tests.tiny import mixnet

ARCHIVE = Path(__file__).parent / "old_versions" / "0.1.0-of-2026-11-28.tar.xz"
# Records hold absolute paths, and their keys are made of them.
ROOT = Path("/tmp/mixnet-0.1.0")
# Of the run's recipe, as that version computed it.
FINGERPRINT = "3cd3a3413ae4e13e"


@pytest.fixture(scope="module")
def workspace() -> Iterator[Path]:
    # Another run of these tests on this machine waits for its turn.
    with ROOT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(ROOT, ignore_errors=True)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(ROOT.parent, filter="data")
        yield ROOT / "workspace"
        shutil.rmtree(ROOT)


def test_a_finished_run_is_finished_still(workspace: Path) -> None:
    done = mixnet("run", "--run=old", "--json", cwd=workspace.parent)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    stages = ("prepare", "fetch", "train", "select", "validate", "accept", "publish")
    assert {stage: results[stage]["reused"] for stage in stages} == dict.fromkeys(stages, True)
    assert results["validate"]["score"]["correct1"] == 9


def test_a_run_opens_with_the_recipe_that_it_has_and_keeps_its_key(workspace: Path) -> None:
    recipe = stored_recipe(workspace / "runs" / "old" / "recipe.yaml")
    run, kept = open_run(recipe, Workspace(workspace), "old")
    assert kept == recipe
    assert kept.rules == 2
    assert kept.fingerprint.startswith(FINGERPRINT)
    assert [row["event"] for row in read_metrics(run.metrics)][:2] == ["start", "compiled"]


def test_its_checkpoint_is_whole_and_loads(workspace: Path) -> None:
    (checkpoint,) = complete_bundles(workspace / "runs" / "old" / "checkpoints")
    assert read_contents(Path(checkpoint.path)).position.step == checkpoint.step == 24
    recipe = stored_recipe(workspace / "runs" / "old" / "recipe.yaml")
    network = mixnet_core.build_network(recipe)
    mixnet_core.load_weights(network, checkpoint.weights)


def test_its_releases_are_listed_and_measured_again(workspace: Path) -> None:
    releases = mixnet_core.list_releases(str(workspace / "releases"))
    assert [release.name for release in releases] == ["old", "zeros"]
    done = mixnet("revalidate", "--retired=zeros", "--json", cwd=workspace.parent)
    # `zeros` holds no recipe, so it cannot be measured, and an error follows the results.
    results, _ = json.JSONDecoder().raw_decode(done.stdout)
    states = {item["release"]: item["state"] for item in results["revalidations"]}
    assert states["old"] == "confirmed", done.stderr
