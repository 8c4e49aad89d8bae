"""Whatever a user names becomes one thing: a release, a run, a folder or a file."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.errors import DatasetError, InputError, IntegrityError
from mixnet_core.release.catalog import USER_CATALOG
from mixnet_core.release.registry import read_release
from mixnet_core.release.signing import VERIFY_KEY
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.stages.named_weights import find_released
from mixnet_core.stages.release_to_measure import Released
from mixnet_core.storage.files import sha256_of
from tests.tiny import FinishedJob

DIGITS = tuple("0123456789")


@pytest.fixture
def job(finished_job: FinishedJob, monkeypatch: pytest.MonkeyPatch) -> FinishedJob:
    monkeypatch.chdir(finished_job.folder)
    return finished_job


@pytest.fixture
def moved(job: FinishedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of the run in a workspace of its own, and no release."""
    shutil.copytree(job.run_dir, tmp_path / "workspace" / "runs" / "tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(name: str, root: Path = Path("workspace"), **more: Any) -> Released:
    workspace = Workspace(root.absolute())
    registry = more.pop("registry", str(workspace.releases))
    return find_released(name, workspace=workspace, registry=registry, **more)


def weights_of(job: FinishedJob) -> Path:
    release = read_release(job.results["publish"]["uri"])
    return Path(release.uri.removeprefix("file://")) / release.files["weights"].name


def test_a_release_is_found_by_its_name_its_uri_and_its_folder(job: FinishedJob) -> None:
    uri = job.results["publish"]["uri"]
    for name in ("tiny", uri, uri.removeprefix("file://"), "./workspace/releases/tiny"):
        released = found(name)
        assert released.name == "tiny"
        assert released.source == "release tiny"
        assert released.classes == DIGITS
        assert released.sha256 == sha256_of(released.weights) == sha256_of(weights_of(job))
        assert released.recipe.input.image_size == 8
        assert released.published is not None
        assert released.published.uri == uri
        assert "short side 8 px bilinear, crop 8 px (recipe digits, of rel" in released.read_as


def test_a_copied_release_is_read_as_it_says_under_any_name(
    job: FinishedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(weights_of(job).parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    for name in ("copy", "./copy", str(tmp_path / "copy"), f"copy/{weights_of(job).name}"):
        released = found(name)
        assert released.source == f"file {weights_of(job).name} of release tiny"
        assert released.classes == DIGITS
        assert released.recipe.input.image_size == 8
        assert released.published is not None


def test_with_a_key_configured_a_release_named_by_path_has_to_be_signed_too(
    job: FinishedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(weights_of(job).parent, tmp_path / "copy")
    (tmp_path / "link.ckpt").symlink_to(weights_of(job))
    (tmp_path / "verify.pem").touch()
    monkeypatch.setenv(VERIFY_KEY, str(tmp_path / "verify.pem"))
    for name in ("tiny", tmp_path / "copy", tmp_path / "link.ckpt", weights_of(job)):
        with pytest.raises(IntegrityError, match="is not signed"):
            found(str(name))


def test_a_run_stands_for_the_checkpoint_that_was_selected(moved: Path) -> None:
    run = RunDir(moved / "workspace" / "runs" / "tiny")
    selected = json.loads(run.record("select").read_text())["result"]["chosen"]
    for name in ("tiny", "./workspace/runs/tiny", str(run.root)):
        released = found(name)
        assert released.sha256 == selected["weights_sha256"]
        assert released.classes == DIGITS
        assert released.run == run
        assert released.published is None
        assert released.source == f"run tiny, as trained, step {selected['step']}"


def test_a_release_goes_before_a_run_of_its_name(job: FinishedJob) -> None:
    assert found("tiny").source == "release tiny"
    assert found(str(job.run_dir)).source.startswith("run tiny,")


def test_a_run_without_a_selection_says_what_to_name_instead(moved: Path) -> None:
    run = RunDir(moved / "workspace" / "runs" / "tiny")
    run.record("select").unlink()
    with pytest.raises(InputError, match=r"no finished stage select.*; or name a file below"):
        found("tiny")
    (bundle, *_) = sorted(run.checkpoints.iterdir())
    for name in (str(bundle), str(bundle / "weights.ckpt")):
        released = found(name)
        assert released.weights == bundle / "weights.ckpt"
        assert released.source == "file weights.ckpt of run tiny"
        assert released.classes == DIGITS
        assert released.run == run


def test_weights_that_are_not_the_selected_ones_any_more_are_refused(
    moved: Path, job: FinishedJob
) -> None:
    run = RunDir(moved / "workspace" / "runs" / "tiny")
    record = json.loads(run.record("select").read_text())
    record["result"]["chosen"]["weights_sha256"] = hashlib.sha256(b"others").hexdigest()
    run.record("select").write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match="is not what was selected"):
        found("tiny")


def test_a_file_alone_is_read_by_what_shows_in_it_or_is_given(
    job: FinishedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(weights_of(job), tmp_path / "alone.ckpt")
    monkeypatch.chdir(tmp_path)
    for name in ("alone.ckpt", "./alone.ckpt", (tmp_path / "alone.ckpt").as_uri()):
        released = found(name)
        assert released.source == "file alone.ckpt"
        assert released.classes is None
        assert released.num_classes == 10
        assert "as no release or run around the file says otherwise" in released.read_as
    given = {"recipe": "digits", "settings": {"input.image_size": 8}}
    assert found("alone.ckpt", **given).recipe.input.image_size == 8
    (tmp_path / "classes.txt").write_text("\n".join("abcdefghij"))
    released = found("alone.ckpt", classes=tmp_path / "classes.txt", **given)
    assert released.classes == tuple("abcdefghij")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(DatasetError, match="names 2 classes"):
        found("alone.ckpt", classes=tmp_path / "classes.txt")


def test_names_of_classes_are_held_to_those_that_a_release_has(
    job: FinishedJob, tmp_path: Path
) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(DIGITS))
    assert found("tiny", classes=tmp_path / "classes.txt").classes == DIGITS
    (tmp_path / "classes.txt").write_text("\n".join(reversed(DIGITS)))
    for name in ("tiny", str(job.run_dir), str(weights_of(job))):
        with pytest.raises(DatasetError, match="in another order than"):
            found(name, classes=tmp_path / "classes.txt")


def test_a_catalog_entry_is_fetched_and_goes_before_a_file_of_its_name(
    job: FinishedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = weights_of(job)
    entry = {
        "name": "elsewhere",
        "url": file.as_uri(),
        "sha256": sha256_of(file),
        "variant": "s",
        "flavour": "timm",
        "num_classes": 1000,
        "source": "a test",
    }
    (tmp_path / "catalog.yaml").write_text(json.dumps({"releases": [entry]}))
    (tmp_path / "elsewhere").write_text("no weights")
    monkeypatch.setenv(USER_CATALOG, str(tmp_path / "catalog.yaml"))
    monkeypatch.chdir(tmp_path)
    released = found("elsewhere")
    assert released.source == "release elsewhere"
    assert released.classes == wnids()
    assert released.recipe.network.flavour == "timm"
    assert released.recipe.devices.target == "CPU"
    assert released.published is None
    assert found("elsewhere", settings={"network.flavour": "tf"}).recipe.network.flavour == "tf"


def test_what_only_a_file_has_is_not_asked_of_a_release_or_a_run(job: FinishedJob) -> None:
    for name, source in (("tiny", "release tiny"), (str(job.run_dir), "run tiny")):
        with pytest.raises(InputError, match=f"{source} has a recipe of its own, --recipe digits"):
            found(name, recipe="digits")
        with pytest.raises(InputError, match=f"{source} is one set of weights"):
            found(name, ema=True)
        changed = found(name, settings={"input.image_size": 16})
        assert changed.recipe.input.image_size == 16
    with pytest.raises(InputError, match="holds no moving averages"):
        found(str(weights_of(job)), ema=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tinny", r"no release 'tinny' \(did you mean tiny\?\).*of the runs here \(did you mean"),
        ("./nothing", "no file at"),
        ("nothing.ckpt", "no file at"),
        ("https://example.com/w.ckpt", "is an address, of which no digest is known"),
        ("timm/mixnet_s.ft_in1k", "is the catalog's mixnet_s.ft_in1k: give that name"),
        ("timm/resnet18.a1_in1k", "a hub's names are not looked up"),
        ("/", "a folder without manifest.json"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(job: FinishedJob, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        found(name)
    assert "\n" not in str(raised.value)
