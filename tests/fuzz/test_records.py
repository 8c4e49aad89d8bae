"""Documents of earlier runs, whatever became of them: read, passed over, or refused in a line."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mixnet_core.checkpoints import bundle as bundles
from mixnet_core.checkpoints.retention import read_scores
from mixnet_core.data.index import open_prepared, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.manifest import manifest_bytes, parse_manifest
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import list_releases, read_release
from mixnet_core.release.start import find_start
from mixnet_core.revalidation.history import read_history
from mixnet_core.runs.records import existing_run, finished, key_of, open_run, recorded
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import PreparedDataset, Score
from mixnet_core.storage.files import write_json
from mixnet_core.train.metrics import read_metrics
from tests.data.samples import data, small_recipe, write_image_folder
from tests.fuzz.bounds import ended, expect_one_line, place
from tests.fuzz.documents import damaged, damaged_bytes
from tests.fuzz.searching import rule

_SHA = "0" * 64
_FACTS = {"variant": "s", "flavour": "mindcv", "classes": ["ant", "bee"], "in_channels": 3,
          "stem_stride": 2, "val": {"top1": 0.9, "top5": 1.0, "count": 20},
          "dataset": {"val_fingerprint": _SHA}}  # fmt: skip
_INPUTS = {"data": {"source": "image_folder", "path": "x"}}
_PREPARED = PreparedDataset(
    root="/data/x", fingerprint=_SHA, classes=("ant", "bee"), counts={"train": 3, "val": 1}
)
_RECORD = {
    "key": key_of(**_INPUTS),
    "inputs": _INPUTS,
    "result": _PREPARED.model_dump(mode="json"),
}
_MANIFEST = {
    "format": 1,
    "name": "mine",
    "files": {"weights": {"name": f"weights-{_SHA[:12]}.ckpt", "sha256": _SHA, "bytes": 3}},
    "facts": _FACTS,
}
_SCORES = {"weights.ckpt": Score(count=20, correct1=3, correct5=9, loss=1.0).model_dump()}
_BUNDLE: dict[str, Any] = {
    "format": 2,
    "position": {"step": 12, "epoch": 1, "epoch_step": 0},
    "division": None,
    "files": {"weights.ckpt": _SHA, "optimizer.ckpt": _SHA},
}


@rule(few=200, content=damaged(_MANIFEST))
def test_a_releases_manifest_is_read_or_refused(content: bytes) -> None:
    parsed = ended(parse_manifest, content, "s3://bucket/releases/mine")
    if parsed.error is not None:
        _expect(parsed.error, IntegrityError)
        return
    # What can be told of it is asked for by everything that lists releases.
    release = parsed.value
    assert json.loads(manifest_bytes(release)) == json.loads(
        json.dumps(release.model_dump(include={"format", "name", "files", "facts"}))
    )
    assert all(isinstance(share, float) for share in release.claims.values())
    assert release.classes is None or all(isinstance(name, str) for name in release.classes)
    for asked in (release.claimed_on, release.shown_uri, release.images):
        assert asked is None or isinstance(asked, str)


@rule(few=60, content=damaged(_MANIFEST))
def test_one_broken_release_hides_no_other(content: bytes) -> None:
    with place() as folder:
        registry = folder / "releases"
        weights = folder / "weights.ckpt"
        weights.write_bytes(b"weights")
        publish_release("other", registry=str(registry), files={"weights": weights}, facts=_FACTS)
        (registry / "mine").mkdir()
        (registry / "mine" / "manifest.json").write_bytes(content)
        assert "other" in [release.name for release in list_releases(str(registry))]
        for read in (read_release, functools.partial(find_start, registry=str(registry))):
            found = ended(read, f"{registry}/mine")
            if found.error is not None:
                _expect(found.error, IntegrityError, InputError)


@rule(few=150, content=damaged(_RECORD))
def test_a_stages_record_is_read_or_refused_or_taken_for_nothing(content: bytes) -> None:
    with place() as folder:
        run = RunDir(folder / "runs" / "mine")
        run.record("prepare").parent.mkdir(parents=True)
        run.record("prepare").write_bytes(content)
        again = finished(run, "prepare", _INPUTS, PreparedDataset)
        assert (
            again is None
            or again == _PREPARED.model_copy(update={"reused": True})
            or (json.loads(content)["key"] == _RECORD["key"])
        )
        for inputs in (None, _INPUTS):
            found = ended(recorded, run, "prepare", PreparedDataset, inputs)
            if found.error is not None:
                _expect(found.error, IntegrityError, InputError)


@functools.cache
def _dataset() -> Path:
    """A prepared dataset, which stays as it is."""
    folder = Path(tempfile.mkdtemp(prefix="mixnet-fuzz-dataset-"))
    root = write_image_folder(folder / "images", {"ant": 5, "bee": 5}, {"ant": 2, "bee": 2})
    return Path(prepare_dataset(data("image_folder", root), folder / "datasets").root)


@st.composite
def _spoilt_datasets(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name of a file of a prepared dataset, and what stands in it now."""
    name = draw(st.sampled_from(["manifest.json"] * 3 + ["train.csv", "val.csv", "classes.txt"]))
    content = (_dataset() / name).read_bytes()
    if name == "manifest.json":
        return name, draw(damaged(json.loads(content)))
    return name, draw(damaged_bytes(content))


@rule(few=120, spoilt=st.deferred(_spoilt_datasets))
def test_a_prepared_dataset_is_opened_or_refused(spoilt: tuple[str, bytes]) -> None:
    name, content = spoilt
    with place() as folder:
        root = folder / "dataset"
        shutil.copytree(_dataset(), root)
        (root / name).write_bytes(content)
        opened = ended(open_prepared, root)
        for came in (opened, *(ended(read_index, root, split) for split in ("train", "val"))):
            if came.error is not None:
                _expect(came.error, IntegrityError, InputError)
        if opened.error is None:
            assert opened.value.counts == {"train": 8, "select": 2, "val": 4}
            assert opened.value.classes == ("ant", "bee")


@rule(few=60, content=damaged(_BUNDLE), scores=damaged(_SCORES))
def test_a_checkpoint_is_verified_or_set_aside(content: bytes, scores: bytes) -> None:
    with place() as folder:
        checkpoint = folder / "step-00000012"
        checkpoint.mkdir()
        for name in ("weights.ckpt", "optimizer.ckpt"):
            (checkpoint / name).write_bytes(b"")
        (checkpoint / "bundle.json").write_bytes(content)
        (checkpoint / "scores.json").write_bytes(scores)
        assert all(isinstance(score, Score) for score in read_scores(checkpoint).values())
        assert isinstance(bundles.is_of_whole_epoch(checkpoint), bool)
        assert isinstance(bundles.is_half_deleted(checkpoint), bool)
        assert bundles.complete_bundles(folder) == []
        found = bundles.newest_bundle(folder)
        assert found.path is None
        assert found.damaged == ("step-00000012",)


_ROW = {"event": "step", "step": 3, "epoch": 1, "loss": 1.0, "lr": 0.1, "time": 0.0}


@rule(few=60, content=damaged(_ROW), more=damaged_bytes(b'{"release": "mine"}\n{"time": "x"}\n'))
def test_rows_of_metrics_and_of_revalidations_are_read_or_passed_over(
    content: bytes, more: bytes
) -> None:
    with place() as folder:
        metrics = folder / "metrics.jsonl"
        metrics.write_bytes(content)
        came = ended(read_metrics, metrics)
        if came.error is not None:
            _expect(came.error, IntegrityError, InputError)
        history = folder / "releases" / "revalidations" / "2026-01.jsonl"
        history.parent.mkdir(parents=True)
        history.write_bytes(content + b"\n" + more)
        assert read_history(str(folder / "releases")) == []


@functools.cache
def _recipe_text() -> str:
    with place() as folder:
        recipe = small_recipe(folder, 2)
        run, _ = open_run(recipe, Workspace(folder))
        return run.recipe.read_text(encoding="utf-8")


@rule(few=60, edits=st.deferred(lambda: damaged_bytes(_recipe_text().encode())))
def test_a_run_whose_recipe_was_damaged_is_read_or_refused(edits: bytes) -> None:
    with place() as folder:
        workspace = Workspace(folder)
        run = workspace.run("mine")
        run.root.mkdir(parents=True)
        run.recipe.write_bytes(edits)
        asked = [
            ended(existing_run, workspace, "mine"),
            ended(open_run, load_recipe("digits"), workspace, "mine", lock_seconds=0.1),
        ]
        for came in asked:
            if came.error is not None:
                _expect(came.error, InputError)


def _expect(error: Exception, *kinds: type[Exception]) -> None:
    assert isinstance(error, kinds), type(error)
    expect_one_line(error)


def test_the_documents_are_usable_before_they_are_damaged(tmp_path: Path) -> None:
    assert parse_manifest(json.dumps(_MANIFEST).encode(), "s3://bucket/mine").claims
    run = RunDir(tmp_path / "mine")
    write_json(run.record("prepare"), _RECORD)
    assert recorded(run, "prepare", PreparedDataset, _INPUTS) == _PREPARED
    assert open_prepared(_dataset()).reused
    assert bundles.Contents.model_validate(_BUNDLE).files
