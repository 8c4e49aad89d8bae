"""Runs beside each other: what is read of each, and in what their recipes differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.runs.records import exclusive
from mixnet_core.stages.compared_runs import (
    ComparedRun,
    compared_runs,
    comparison_page,
    differences,
    usual,
)
from mixnet_core.stages.workspace_use import workspace_use
from mixnet_core.storage.user_cache import VARIABLE
from tests.stages.trained_runs import some_runs


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ComparedRun]:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    workspace = some_runs(tmp_path / "w")
    found = compared_runs(workspace, workspace_use(workspace).runs)
    return {run.name: run for run in found}


def test_each_run_has_the_figures_of_its_own_rows(runs: dict[str, ComparedRun]) -> None:
    slow = runs["slow-rate"]
    assert (slow.figures.epoch, slow.figures.epochs, slow.state) == (6, 10, "stopped in training")
    assert slow.variant == "s"
    # Not that of the averages, which is higher.
    assert slow.figures.best_top1 == 0.565
    assert slow.figures.best_epoch == 6
    assert [x for x, _ in slow.curves["loss"]] == [1, 2, 3, 4, 5, 6]
    assert slow.curves["top1"][-1] == (6, pytest.approx(56.5))
    assert slow.curves["speed"][-1][0] == 6
    # The first logged speed is none.
    assert len(slow.curves["speed"]) == 23


def test_a_run_without_a_whole_epoch_shows_its_steps(runs: dict[str, ComparedRun]) -> None:
    first = runs["first-epoch"]
    assert (first.figures.epoch, first.figures.epochs) == (0, 10)
    assert first.curves["loss"][-1][0] == 0.5
    assert runs["compiling"].curves == {"loss": [], "top1": [], "speed": []}


def test_what_cannot_be_read_is_left_out_and_the_run_is_not(runs: dict[str, ComparedRun]) -> None:
    assert runs["broken-recipe"].figures.epoch == 2
    assert (runs["broken-recipe"].settings, runs["broken-recipe"].variant) == ({}, "")
    assert runs["strange-rows"].figures.step is None
    assert runs["strange-rows"].state == "nothing done"


def test_recipes_are_told_apart_by_the_keys_in_which_they_differ(
    runs: dict[str, ComparedRun],
) -> None:
    found = dict(differences([runs[name] for name in ("slow-rate", "fast-rate", "as-slow")]))
    assert found == {"schedule.lr": ["0.1", "0.3", "0.1"], "training.seed": ["42", "42", "7"]}
    assert usual(found["schedule.lr"]) == "0.1"
    assert differences([runs["slow-rate"]]) == []


def test_a_run_that_a_process_works_on_is_training(tmp_path: Path) -> None:
    workspace = some_runs(tmp_path / "w")
    with exclusive(workspace.run("slow-rate")):
        found = compared_runs(workspace, workspace_use(workspace).runs)
    assert [run.state for run in found if run.name == "slow-rate"] == ["training"]


@pytest.mark.parametrize(
    ("values", "most"),
    [([], None), (["1"], None), (["1", "2"], None), (["1", "1", "2", "2"], None),
     (["1", None, "1", "2"], "1")],
)  # fmt: skip
def test_the_usual_value_is_the_one_that_most_have(
    values: list[str | None], most: str | None
) -> None:
    assert usual(values) == most


def test_the_page_shows_every_run_and_no_markup_of_theirs(runs: dict[str, ComparedRun]) -> None:
    page = comparison_page(list(runs.values()), now=1.8e9)
    for name in runs:
        assert f"<bdi>{name}</bdi>" in page
    assert "<b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "56.50 %" in page
    assert "made 2027-01-15 08:00 UTC" in page
    # Of the recipe that cannot be read there is no column.
    assert page.count("broken-recipe") == 1
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/", "")
    assert comparison_page(list(runs.values()), now=1.8e9) == page


def test_a_workspace_without_runs_says_so() -> None:
    page = comparison_page([], now=1.8e9)
    assert "There are no runs here yet." in page
    assert "<svg" not in page
