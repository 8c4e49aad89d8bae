"""`mixnet runs`: what a workspace holds, as people read it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mixnet_core.recipe.recipe import load_recipe, save_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.storage.user_cache import VARIABLE
from tests.cli.conftest import Run
from tests.stages.trained_runs import some_runs


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A run that did nothing yet, and a dataset that nobody needs; both old."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    made = Workspace(tmp_path / "w")
    run = made.run("mine")
    run.root.mkdir(parents=True)
    save_recipe(load_recipe("digits"), run.recipe)
    (made.datasets / "digits-1").mkdir(parents=True)
    (made.datasets / "digits-1" / "manifest.json").write_bytes(b"x" * 2500)
    for path in made.root.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return made


def test_a_workspace_is_listed_with_sizes(
    mixnet: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--workspace", str(workspace.root))
    code, out, err = mixnet("runs", *place)
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.split()[:5] == ["run", "mine", "nothing", "no", "figures"]
    assert first.endswith("2001-09-09T01:46:40Z digits")
    assert second.split() == ["datasets", "digits-1", "2.5", "kB", "2001-09-09T01:46:40Z"]
    found = json.loads(mixnet("runs", *place, "--json")[1])
    assert (found["runs"][0]["name"], found["runs"][0]["at_work"]) == ("mine", False)
    assert found["datasets"][0]["bytes"] == 2500
    assert (found["weights"], found["cache"]) == ([], [])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    out = mixnet("runs", *place)[1]
    assert "last written, UTC" in out
    assert "2001-09-09 01:46" in out


def test_what_no_run_needs_is_removed_and_said(mixnet: Run, workspace: Workspace) -> None:
    place = ("--workspace", str(workspace.root))
    folder = workspace.datasets / "digits-1"
    code, out, _ = mixnet("runs", "clean", "--datasets", "--dry-run", *place)
    assert (code, out) == (0, f"would go     2.5 kB {folder}\n2.5 kB would be freed\n")
    assert folder.is_dir()
    code, out, _ = mixnet("runs", "clean", "--datasets", "mine", "--older-than=7d", *place)
    assert code == 0
    assert f"removed      2.5 kB {folder}" in out
    assert not folder.exists()
    assert not workspace.run("mine").root.exists()
    code, _, err = mixnet("runs", "clean", *place)
    assert (code, "nothing to clean" in err) == (2, True)
    code, _, err = mixnet("runs", "clean", "mine", *place)
    assert (code, "no run 'mine'" in err) == (2, True)


def test_a_run_that_is_named_twice_counts_once_and_a_slip_removes_nothing(
    mixnet: Run, workspace: Workspace
) -> None:
    place = ("--workspace", str(workspace.root))
    once = mixnet("runs", "clean", "mine", "--dry-run", *place)
    assert mixnet("runs", "clean", "mine", "mine", "--dry-run", *place)[:2] == once[:2]
    code, _, err = mixnet("runs", "clean", "mine", "mien", *place)
    assert (code, workspace.run("mine").root.is_dir()) == (2, True)
    assert "no run 'mien'" in err
    assert mixnet("runs", "clean", "mine", "mine", *place)[0] == 0
    assert not workspace.run("mine").root.exists()


def test_a_page_compares_the_runs_and_json_has_their_figures(
    mixnet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    place = ("--workspace", str(some_runs(tmp_path / "w").root))
    page = tmp_path / "pages" / "runs.html"
    code, out, err = mixnet("runs", "--html", str(page), *place)
    assert (code, out, err) == (0, f"7 runs in {page}\n", "")
    assert "fast-rate" in page.read_text()
    found = json.loads(mixnet("runs", "--json", *place)[1])
    training = {run["name"]: run["training"] for run in found["runs"]}
    assert training["slow-rate"]["epoch"] == 6
    assert training["slow-rate"]["images_per_second"] > 40
    assert training["strange-rows"]["step"] is None
    code, _, err = mixnet("runs", "--html", str(tmp_path), *place)
    assert (code, "is a folder, expected a file" in err) == (2, True)
    code, _, err = mixnet("runs", "--html", str(page), "clean", "slow-rate")
    assert (code, "--html belongs to `mixnet runs` alone" in err) == (2, True)
