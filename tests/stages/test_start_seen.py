"""What a run that starts from other weights claims of its val images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.data.seen import (
    Seen,
    prefixes_of,
    read_seen,
    seen_in_training,
    val_digests,
    write_seen,
)
from mixnet_core.errors import InputError
from mixnet_core.evaluate.job import Measured
from mixnet_core.evaluate.prediction_table import read_table
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release
from mixnet_core.runs.records import recorded, write_record
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import (
    FetchedWeights,
    PreparedDataset,
    Selection,
    TrainedRun,
    Validation,
)
from mixnet_core.stages import fetch as fetch_module
from mixnet_core.stages import measuring as measuring_module
from mixnet_core.stages.context import Context
from mixnet_core.stages.fetch import fetch
from mixnet_core.stages.made_from import fetch_inputs
from mixnet_core.stages.start_seen import seen_by_start
from mixnet_core.stages.validate import validate
from tests.tiny import FinishedJob

IMAGES = [f"{number:064x}" for number in (1 << 200, 2 << 200, 3 << 200)]

Started = Callable[..., Context]


def base(root: Path, seen: Seen | None, name: str = "base", **facts: Any) -> PublishedRelease:
    """A release that saw these images, whose weights are no network's."""
    files = {"weights": root / "w.ckpt"}
    files["weights"].write_bytes(name.encode())
    if seen is not None:
        files["seen"] = root / "seen.bin"
        write_seen(files["seen"], seen)
    registry = f"file://{root}/releases"
    published = publish_release(name, registry=registry, files=files, facts=facts)
    return read_release(published.uri)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Fetches initial weights for a run; that they fit its network is not looked at."""
    monkeypatch.setattr(fetch_module, "expect_weights_fit", lambda *_: "")

    def start(name: str | None, run: Path = tmp_path / "workspace" / "runs" / "r") -> Context:
        recipe = load_recipe("digits", {"weights.name": name})
        workspace = Workspace(run.parents[1])
        context = Context(recipe, RunDir(run), workspace, f"file://{tmp_path}/releases")
        fetch(context)
        return context

    return start


def known(context: Context) -> Seen:
    return seen_by_start(context.run, context.recipe)


def test_from_scratch_nothing_was_seen_and_all_is_known(started: Started) -> None:
    found = known(started(None))
    assert (found.count(IMAGES), found.lacks) == (0, None)


@pytest.mark.parametrize(
    ("facts", "lacks"),
    [
        ({"started_from": None}, None),
        ({"started_from": {"name": "older", "sha256": "0"}}, "older"),
        ({"started_from": {"name": "x"}, "measured_on": {"unknown_start": None}}, None),
        ({"started_from": {"name": "x"}, "measured_on": {"unknown_start": "y"}}, "y"),
        ({}, "base"),
        ({"started_from": "whatever"}, "base"),
    ],
)
def test_a_release_brings_what_it_saw_and_says_whose_images_are_not_among_them(
    started: Started, tmp_path: Path, facts: dict[str, Any], lacks: str | None
) -> None:
    base(tmp_path, Seen(prefixes_of(IMAGES[:2])), **facts)
    context = started("base")
    found = known(context)
    assert (found.count(IMAGES), found.lacks) == (2, lacks)
    # The release may be gone by the time it is asked for.
    shutil.rmtree(tmp_path / "releases")
    again = fetch(context)
    assert again is not None
    assert (again.reused, known(context).count(IMAGES)) == (True, 2)
    Path(again.seen).write_bytes(b"12345678")
    with pytest.raises(InputError, match=r"run `mixnet fetch --run r` again"):
        known(context)


def test_what_was_fetched_and_is_damaged_is_fetched_again(started: Started, tmp_path: Path) -> None:
    base(tmp_path, Seen(prefixes_of(IMAGES)), started_from=None)
    context = started("base")
    fetched = recorded(context.run, "fetch", FetchedWeights)
    for spoil in (Path(fetched.seen).unlink, lambda: Path(fetched.seen).write_bytes(b"12345678")):
        spoil()
        fetch(context)
        assert known(context).count(IMAGES) == 3


def test_of_other_weights_it_is_not_known(started: Started, tmp_path: Path) -> None:
    base(tmp_path, None, started_from=None)
    assert known(started("base")).lacks == "base"
    # As an earlier version recorded it.
    base(tmp_path, Seen(prefixes_of(IMAGES)), "older", started_from=None)
    context = started("older", tmp_path / "workspace" / "runs" / "s")
    fetched = recorded(context.run, "fetch", FetchedWeights)
    kept = {"name": "older", "path": fetched.path, "sha256": fetched.sha256}
    write_record(context.run, "fetch", fetch_inputs(context.recipe), FetchedWeights(**kept))
    assert known(context).lacks == "older"


@pytest.mark.slow
def test_val_images_that_the_initial_weights_saw_are_counted(
    finished_job: FinishedJob, started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(finished_job.run_dir, tmp_path / "w" / "runs" / "tiny"))
    run = RunDir(copy)
    dataset = recorded(run, "prepare", PreparedDataset)
    digests = val_digests(Path(dataset.root))
    rows = read_table(run.predictions, dataset.classes).rows
    measured = Measured(predictions=(rows,), engine="openvino", images_per_second=1.0)
    monkeypatch.setattr(measuring_module, "measure", lambda *_, **__: measured)
    own = seen_in_training(Path(dataset.root))
    assert own is not None

    def validated(name: str) -> tuple[Validation, str]:
        context = started(name, copy)
        run.record("validate").unlink(missing_ok=True)
        done = validate(
            replace(context, recipe=load_recipe(str(run.recipe), {"weights.name": name})),
            dataset,
            recorded(run, "train", TrainedRun),
            recorded(run, "select", Selection),
        )
        return done, run.report_markdown.read_text()

    base(tmp_path, Seen(np.unique(prefixes_of(digests[:5]))), started_from=None)
    done, page = validated("base")
    assert done.measured_on is not None
    assert (done.measured_on.seen, done.measured_on.unknown_start) == (5, None)
    assert done.measured_on.unseen is not None
    assert done.measured_on.unseen.count == len(digests) - 5
    assert "in that of the initial weights" in page
    assert "neither training nor selection saw" not in page
    # What is published as the new release's own.
    written = read_seen(run.seen)
    assert written.count(digests) == 5
    assert np.isin(own.prefixes, written.prefixes).all()

    base(tmp_path, None, "silent")
    done, page = validated("silent")
    assert done.measured_on is not None
    assert (done.measured_on.seen, done.measured_on.unknown_start) == (0, "silent")
    assert "what the initial weights silent were trained on is not known" in page
    assert "neither training nor selection saw" not in page
