"""A run's folder comes to a store and from it complete, verified, or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from mixnet_core.checkpoints.bundle import OPTIMIZER, WEIGHTS, Division, Position, write_bundle
from mixnet_core.checkpoints.retention import write_scores
from mixnet_core.checkpoints.run_copy import RunCopy
from mixnet_core.errors import IntegrityError, MachineError, RunTaken
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.turns import Held, take
from mixnet_core.runs.values import Score
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import Storage
from tests.object_store import ObjectStore
from tests.storage.fault_proxy import FaultProxy, always, at, where

DIVISION = Division(
    ranks=1, accumulation=1, threads=1, operators="plain", target="CPU", mindspore="2"
)


def written(run: RunDir, step: int, more: str = "") -> None:
    """A checkpoint, and the metrics up to it."""

    def save(folder: Path) -> None:
        for name in (WEIGHTS, OPTIMIZER):
            (folder / name).write_text(f"{name} {step}{more}")

    write_bundle(run.checkpoints, position=Position(step=step), division=DIVISION, save=save)
    run.metrics.write_text(f"rows up to {step}\n")


class Host:
    """A host with a folder of its own, which takes the run at once."""

    def __init__(self, root: Path, uri: str) -> None:
        self.run = RunDir(root / "r")
        self.storage: Storage = open_storage(uri)
        self.held: Held = take(
            self.storage, "r", place=root.name, told={}, say=print, lost_seconds=0, wait_seconds=0
        )[0]
        self.copy = RunCopy(self.run, self.storage, self.held)

    def writes(self, *steps: int, more: str = "") -> None:
        for step in steps:
            written(self.run, step, more)

    @property
    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.run.root)): path.read_bytes()
            for path in self.run.root.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def uri(s3_environment: ObjectStore) -> str:
    return f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}/r"


@pytest.fixture
def begun(tmp_path: Path, uri: str) -> Host:
    """Has sent two checkpoints, one of them scored."""
    host = Host(tmp_path / "a", uri)
    host.writes(2, 4)
    score = Score(count=4, correct1=1, correct5=2, loss=0.5)
    write_scores(host.run.checkpoints / "step-00000004", {WEIGHTS: score})
    host.run.diverged.write_text("left out\n")
    (host.run.attempts("train") / "attempt-003").mkdir(parents=True)
    assert host.copy.send()
    assert not host.copy.send()
    return host


def stored(host: Host) -> list[str]:
    return [found.key for found in host.storage.listed("files")]


def test_an_empty_folder_becomes_the_other_ones(begun: Host, tmp_path: Path, uri: str) -> None:
    other = Host(tmp_path / "b", uri)
    assert other.copy.newest == 4
    assert other.copy.fetch() == []
    assert other.files == begun.files
    # Its own attempts are others than those that records speak of.
    assert (other.run.attempts("train") / "attempt-003").is_dir()
    assert not other.copy.send()


def test_what_is_deleted_here_is_deleted_there_and_not_what_came_after(
    begun: Host, tmp_path: Path, uri: str
) -> None:
    # Four of the bundles' files, two of their contents, a score, metrics and what was left out.
    assert len(stored(begun)) == 3 + 4 + 2
    other = Host(tmp_path / "b", uri)
    other.copy.fetch()
    other.writes(6)
    for path in sorted((other.run.checkpoints / "step-00000002").iterdir()):
        path.unlink()
    path.parent.rmdir()
    assert other.copy.send()
    assert set(stored(other)) == set(other.held.turn.kept.values())
    # One that lost the run and does not know it yet.
    begun.writes(4, 6, more=" of an earlier owner")
    with pytest.raises(RunTaken):
        begun.copy.send()
    third = Host(tmp_path / "c", uri)
    third.copy.fetch()
    assert third.files == other.files


def test_a_folder_that_another_host_went_past_is_left_behind(
    begun: Host, tmp_path: Path, uri: str
) -> None:
    begun.writes(6, more=" of before")
    (begun.run.root / "unreadable-host-1.jsonl").write_text("of before\n")
    other = Host(tmp_path / "b", uri)
    other.copy.fetch()
    other.writes(5)
    other.copy.send()
    again = Host(tmp_path / "a", uri)
    again.copy.fetch()
    assert (again.run.checkpoints / "left-behind-step-00000006" / WEIGHTS).is_file()
    kept = {name: data for name, data in again.files.items() if "left-behind" not in name}
    assert kept == other.files


def tampered(host: Host, path: str, content: bytes | None) -> None:
    key = host.held.turn.kept[path]
    host.storage.remove(key)
    if content is not None:
        host.storage.create(key, content)


@pytest.mark.parametrize("content", [b"weights.ckpt 9", None])
def test_a_checkpoint_that_was_tampered_with_is_named_and_not_used(
    content: bytes | None, begun: Host, tmp_path: Path, uri: str
) -> None:
    tampered(begun, "checkpoints/step-00000004/weights.ckpt", content)
    other = Host(tmp_path / "b", uri)
    (said,) = other.copy.fetch()
    assert said.startswith("checkpoint step-00000004 is damaged in the store: s3://")
    assert "expected sha256" in said
    assert [path.name for path in other.run.checkpoints.iterdir()] == ["step-00000002"]
    # Made again, it is sent again.
    other.writes(4)
    other.copy.send()
    third = Host(tmp_path / "c", uri)
    assert third.copy.fetch() == []
    assert third.files == other.files


def test_where_none_is_whole_nothing_begins_anew_by_itself(
    begun: Host, tmp_path: Path, uri: str
) -> None:
    for step in (2, 4):
        tampered(begun, f"checkpoints/step-{step:08d}/optimizer.ckpt", b"x")
    other = Host(tmp_path / "b", uri)
    expected = r"no checkpoint of run r in s3://.* is whole, of 2: checkpoint step-00000004"
    with pytest.raises(IntegrityError, match=expected):
        other.copy.fetch()


def test_records_that_were_tampered_with_are_refused(begun: Host, tmp_path: Path, uri: str) -> None:
    tampered(begun, "diverged.jsonl", b"nothing is left out\n")
    other = Host(tmp_path / "b", uri)
    with pytest.raises(IntegrityError, match=r"is not what was kept there as diverged\.jsonl"):
        other.copy.fetch()
    assert not other.run.diverged.exists()


def test_files_outside_of_a_run_are_none_of_it(begun: Host, tmp_path: Path, uri: str) -> None:
    key = begun.held.turn.kept["metrics.jsonl"]
    begun.held.advance(kept={"checkpoints/../../x": key})
    other = Host(tmp_path / "b", uri)
    with pytest.raises(IntegrityError, match="which is no file of a run"):
        other.copy.fetch()


def test_an_upload_that_breaks_off_anywhere_leaves_the_store_as_it_was(
    begun: Host,
    tmp_path: Path,
    uri: str,
    s3_environment: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = always(403, "AccessDenied")
    before = begun.files
    begun.writes(6)
    for done in range(4):
        fault = where(lambda request: "/files/" in request.path, at(range(done + 1, 99), refused))
        with FaultProxy(s3_environment.endpoint_url, fault) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
            broken = RunCopy(begun.run, open_storage(uri), begun.held)
            with pytest.raises(MachineError, match="refused access"):
                broken.send()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_environment.endpoint_url)
    other = Host(tmp_path / "b", uri)
    assert other.copy.fetch() == []
    assert other.files == before
    # What was sent in vain goes with the next change.
    other.writes(5)
    other.copy.send()
    assert set(stored(other)) == set(other.held.turn.kept.values())
