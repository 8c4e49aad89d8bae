"""What can be told without measuring; that is in tests/flows/test_deployments.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import DatasetError, DigestMismatch, IntegrityError
from mixnet_core.options import adjusted_recipe
from mixnet_core.recipe import save_recipe
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.publish import publish_release, read_release
from mixnet_core.revalidation import (
    compared,
    not_measured,
    require_all_hold,
    revalidate_release,
    table,
)
from mixnet_core.run_dir import Workspace
from mixnet_core.values import EvaluateResult, Score
from tests.data.samples import write_image_folder

IMAGES = "f" * 64


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def publish(workspace: Workspace, *, recipe: bool = True, **facts: Any) -> PublishedRelease:
    """A release whose weights are no network's."""
    root = workspace.root.parent
    (root / "weights.ckpt").write_bytes(b"weights")
    images = write_image_folder(root / "images", {"ant": 8, "bee": 8}, {"ant": 2, "bee": 2})
    save_recipe(adjusted_recipe("digits", data=str(images), ranks=1), root / "recipe.yaml")
    files = {"weights": root / "weights.ckpt"}
    if recipe:
        files["recipe"] = root / "recipe.yaml"
    release = publish_release("r", to=str(workspace.releases), files=files, facts=facts)
    return read_release(release.uri)


def scored(correct: int, count: int = 1000) -> EvaluateResult:
    score = Score(count=count, correct1=correct, correct5=count, loss=1.0)
    return EvaluateResult(scores=(score,), images_per_second=1.0, engine="mindspore 2, CPU")


def facts(top1: object) -> dict[str, Any]:
    return {"val": {"top1": top1}, "dataset": {"fingerprint": IMAGES}}


@pytest.mark.parametrize(
    ("correct", "verdict"), [(950, "holds"), (900, "holds"), (899, "holds"), (898, "regressed")]
)
def test_a_release_holds_down_to_the_tolerance(
    workspace: Workspace, correct: int, verdict: str
) -> None:
    result = compared(publish(workspace, **facts(0.9)), scored(correct), IMAGES, 0.001)
    assert result.verdict == verdict
    assert result.note == ""
    assert result.bad is (verdict == "regressed")
    assert result.engine == table([result])[0]["engine"] == "mindspore 2, CPU"


def test_other_images_than_those_of_the_published_figure_are_said(workspace: Workspace) -> None:
    result = compared(publish(workspace, **facts(0.9)), scored(900), "e" * 64, 0.0)
    assert "other images" in result.line


@pytest.mark.parametrize("published", [{}, {"val": None}, {"val": {"top1": "high"}}])
def test_a_release_without_figures_is_reported_and_not_failed(
    workspace: Workspace, published: dict[str, Any]
) -> None:
    result = compared(publish(workspace, **published), scored(500), IMAGES, 0.0)
    assert result.verdict == "no figures"
    require_all_hold([result])
    assert table([result])[0]["top-1"] == "50.00 %"


def test_every_release_that_does_not_hold_is_named_in_one_line(workspace: Workspace) -> None:
    release = publish(workspace, **facts(0.9))
    held = compared(release, scored(900), IMAGES, 0.0)
    bad = compared(release, scored(800), IMAGES, 0.0)
    lost = not_measured("file:///releases/lost", IntegrityError("no usable manifest"))
    with pytest.raises(IntegrityError, match="2 of 3") as caught:
        require_all_hold([held, bad, lost])
    assert "r regressed (top-1 80.00 %, published 90.00 %, by mindspore 2, CPU)" in str(
        caught.value
    )
    assert "lost failed (IntegrityError: no usable manifest)" in str(caught.value)


def test_a_release_without_its_recipe_is_refused(workspace: Workspace) -> None:
    release = publish(workspace, recipe=False)
    with pytest.raises(IntegrityError, match="holds no recipe"):
        revalidate_release(release.uri, workspace=workspace)


def test_a_recipe_with_a_flipped_byte_is_refused_and_not_kept(workspace: Workspace) -> None:
    release = publish(workspace)
    stored = workspace.releases / "r" / release.files["recipe"].name
    stored.write_bytes(stored.read_bytes().replace(b"seed: 42", b"seed: 43"))
    with pytest.raises(DigestMismatch, match="as its manifest says"):
        revalidate_release(release.uri, workspace=workspace)
    assert not list(workspace.root.rglob("published-recipe.yaml"))


def test_images_of_other_classes_than_the_releases_are_refused(workspace: Workspace) -> None:
    release = publish(workspace, classes=["bee", "ant"])
    with pytest.raises(DatasetError, match=r"classes ant, bee, release r was made for bee, ant"):
        revalidate_release(release.uri, workspace=workspace)
