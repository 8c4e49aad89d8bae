"""What a published or trained file is known to have seen."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from mixnet_core.data.index import read_rows
from mixnet_core.data.seen import Seen, val_digests
from mixnet_core.errors import DigestMismatch
from mixnet_core.release.origin import origin_of
from mixnet_core.release.registry import read_release
from mixnet_core.revalidation.seen import fetch_seen, seen_by
from mixnet_core.runs.records import trained_dataset
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import sha256_of
from tests.tiny import FinishedJob

pytestmark = pytest.mark.slow


@pytest.fixture
def published(finished_job: FinishedJob, tmp_path: Path) -> Path:
    """A copy of the release's folder, which a test may change."""
    uri = finished_job.results["publish"]["uri"]
    folder = Path(uri.removeprefix("file://"))
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def weights_in(folder: Path) -> Path:
    return next(folder.glob("weights-*.ckpt"))


def seen(file: Path) -> Seen | None:
    return seen_by(origin_of(file, sha256_of(file)), file)


def expect_the_runs_images(found: Seen | None, job: FinishedJob) -> None:
    root = Path(job.results["prepare"]["root"])
    assert found is not None
    for split in ("train", "select"):
        digests = [row.sha256 for row in read_rows(root, split)]
        assert found.count(digests) == len(digests)
    assert found.count(val_digests(root)) == 0


def test_a_release_knows_what_it_was_trained_and_selected_on(
    finished_job: FinishedJob, published: Path
) -> None:
    expect_the_runs_images(seen(weights_in(published)), finished_job)


def test_a_release_elsewhere_brings_it_along(finished_job: FinishedJob, tmp_path: Path) -> None:
    release = read_release(finished_job.results["publish"]["uri"])
    expect_the_runs_images(fetch_seen(release, tmp_path), finished_job)
    files = {role: file for role, file in release.files.items() if role != "seen"}
    assert fetch_seen(release.model_copy(update={"files": files}), tmp_path) is None


def test_a_checkpoint_of_a_run_knows_it_before_and_after_it_is_validated(
    finished_job: FinishedJob, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_job.run_dir, tmp_path / "runs" / "tiny"))
    checkpoint = next((run / "checkpoints").glob("*/weights.ckpt"))
    expect_the_runs_images(seen(checkpoint), finished_job)
    (run / "seen.bin").unlink()
    expect_the_runs_images(seen(checkpoint), finished_job)
    # What was prepared for the run since is not what it was trained on.
    prepared, begun = (run / "stages" / name for name in ("prepare.json", "train-begun.json"))
    record = json.loads(prepared.read_text())
    record["result"]["root"] = str(tmp_path / "gone")
    prepared.write_text(json.dumps(record))
    expect_the_runs_images(seen(checkpoint), finished_job)
    noted = json.loads(begun.read_text())
    noted["dataset"]["root"] = str(tmp_path / "gone")
    begun.write_text(json.dumps(noted))
    assert seen(checkpoint) is None
    # Earlier versions noted a key alone: what was prepared later may be anything.
    begun.write_text(json.dumps({"key": noted["key"]}))
    os.utime(begun, ns=(1, 1))
    assert trained_dataset(RunDir(run)) is None
    os.utime(prepared, ns=(0, 0))
    assert trained_dataset(RunDir(run)) is not None


def test_a_release_of_an_earlier_version_does_not_know(published: Path) -> None:
    manifest = json.loads((published / "manifest.json").read_text())
    del manifest["files"]["seen"]
    (published / "manifest.json").write_text(json.dumps(manifest))
    assert seen(weights_in(published)) is None


def test_a_file_that_lies_alone_does_not_know(published: Path, tmp_path: Path) -> None:
    alone = shutil.copy(weights_in(published), tmp_path / "w.ckpt")
    assert seen(Path(alone)) is None


def test_what_is_not_what_was_published_is_not_believed(published: Path) -> None:
    file = next(published.glob("seen-*.bin"))
    file.write_bytes(file.read_bytes()[8:])
    with pytest.raises(DigestMismatch, match="is not what its manifest states"):
        seen(weights_in(published))
