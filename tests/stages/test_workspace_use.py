"""What `mixnet runs` lists and cleans, on a workspace that real stages left."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, TransientError
from mixnet_core.recipe.recipe import load_recipe, save_recipe
from mixnet_core.runs.records import exclusive, write_record
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import FetchedWeights, PreparedDataset
from mixnet_core.stages.workspace_use import clean, clean_run, is_locked, workspace_use
from mixnet_core.storage.user_cache import VARIABLE

DAY = 86400.0


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two runs, two datasets and two files of weights, of each the first is needed; all old."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    made = Workspace(tmp_path / "w")
    for name in ("digits-aaaaaaaa", "digits-bbbbbbbb"):
        (made.datasets / name).mkdir(parents=True)
        (made.datasets / name / "manifest.json").write_text("{}")
    made.weights.mkdir()
    for name in ("start-1.ckpt", "start-2.ckpt", "start-1.json"):
        (made.weights / name).write_bytes(b"w" * 1000)
    for name in ("mine", "other"):
        run = made.run(name)
        run.checkpoints.mkdir(parents=True)
        (run.checkpoints / "weights.ckpt").write_bytes(b"c" * 5000)
        save_recipe(load_recipe("digits", {"weights.name": "start"}), run.recipe)
    run = made.run("mine")
    dataset = PreparedDataset(
        root=str(made.datasets / "digits-aaaaaaaa"), fingerprint="f", classes=("0",), counts={}
    )
    write_record(run, "prepare", {}, dataset)
    weights = FetchedWeights(name="start", path=str(made.weights / "start-1.ckpt"), sha256="0" * 64)
    write_record(run, "fetch", {}, weights)
    (tmp_path / "cache" / "native").mkdir(parents=True)
    (tmp_path / "cache" / "native" / "operators.so").write_bytes(b"so")
    age(tmp_path)
    return made


def age(folder: Path, seconds: float = 2 * DAY) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - seconds,) * 2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_run_says_how_far_it_came_and_each_thing_who_needs_it(workspace: Workspace) -> None:
    use = workspace_use(workspace)
    assert [(run.name, run.recipe, run.stage, run.at_work) for run in use.runs] == [
        ("mine", "digits", "fetch", False),
        ("other", "digits", "", False),
    ]
    assert all(run.bytes > 5000 for run in use.runs)
    assert [(item.name, item.needed) for item in use.datasets] == [
        ("digits-aaaaaaaa", ("mine",)),
        ("digits-bbbbbbbb", ()),
    ]
    assert [(item.name, item.bytes, item.needed) for item in use.weights] == [
        ("start-1.ckpt", 1000, ("mine",)),
        ("start-1.json", 1000, ("mine",)),
        ("start-2.ckpt", 1000, ()),
    ]
    assert [(item.name, item.bytes) for item in use.cache] == [("native", 2)]


def test_what_no_run_needs_is_removed_and_nothing_else(workspace: Workspace) -> None:
    removed, left = clean(workspace, ["datasets", "weights", "cache"], dry_run=True)
    assert names(workspace.weights) == ["start-1.ckpt", "start-1.json", "start-2.ckpt"]
    again, _ = clean(workspace, ["datasets", "weights", "cache"])
    assert [item.name for item in removed] == [item.name for item in again]
    assert [item.name for item in removed] == ["digits-bbbbbbbb", "start-2.ckpt", "native"]
    assert {why for _, why in left} == {"needed by mine"}
    assert names(workspace.datasets) == ["digits-aaaaaaaa"]
    assert names(workspace.weights) == ["start-1.ckpt", "start-1.json"]
    assert names(workspace.root / "runs") == ["mine", "other"]


@pytest.mark.parametrize("how", ["link", "move"])
def test_what_a_run_needs_stays_whatever_way_its_workspace_is_named(
    how: str, workspace: Workspace, tmp_path: Path
) -> None:
    other = Workspace(tmp_path / "elsewhere")
    if how == "link":
        other.root.symlink_to(workspace.root)
    else:
        workspace.root.rename(other.root)
    removed, _ = clean(other, ["datasets", "weights"])
    assert [item.name for item in removed] == ["digits-bbbbbbbb", "start-2.ckpt"]


def test_a_run_is_removed_by_name_and_what_it_alone_needed_after_it(workspace: Workspace) -> None:
    assert clean_run(workspace, "mine", dry_run=True).name == "mine"
    assert clean_run(workspace, "mine").bytes > 5000
    assert names(workspace.root / "runs") == ["other"]
    clean(workspace, ["datasets", "weights"])
    assert (names(workspace.datasets), names(workspace.weights)) == ([], [])
    with pytest.raises(InputError, match=r"no run 'mine' in .*: expected one of other"):
        clean_run(workspace, "mine")


def test_a_run_that_a_process_works_on_stays_and_so_does_what_it_may_need(
    workspace: Workspace,
) -> None:
    with exclusive(workspace.run("other")):
        assert [run.at_work for run in workspace_use(workspace).runs] == [False, True]
        with pytest.raises(TransientError, match="another process works on run other"):
            clean_run(workspace, "other")
        removed, left = clean(workspace, ["datasets", "weights", "cache"])
    assert [item.name for item in removed] == ["native"]
    reasons = {item.name: why for item, why in left}
    assert "other is at work" in reasons["digits-bbbbbbbb"]
    assert "other is at work" in reasons["start-2.ckpt"]
    assert names(workspace.root / "runs") == ["mine", "other"]


def test_what_was_written_lately_stays(workspace: Workspace) -> None:
    age(workspace.datasets / "digits-bbbbbbbb", 60)
    removed, _ = clean(workspace, ["datasets"])
    assert removed == []
    assert [item.name for item in clean(workspace, ["datasets"], older_seconds=30)[0]] == [
        "digits-bbbbbbbb"
    ]


def test_images_that_are_hard_links_free_nothing_and_links_are_not_followed(
    workspace: Workspace, tmp_path: Path
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(b"i" * 100_000)
    folder = workspace.datasets / "digits-bbbbbbbb"
    os.link(image, folder / "image.png")
    assert workspace_use(workspace).datasets[1].bytes == 2
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    shutil.rmtree(folder)
    folder.symlink_to(elsewhere)
    removed, left = clean(workspace, ["datasets"], older_seconds=0)
    assert (removed, left[-1][1]) == ([], "it is a link, which somebody made")
    assert (elsewhere / "precious").exists()


def test_a_run_without_a_readable_recipe_is_listed_and_can_be_removed(workspace: Workspace) -> None:
    workspace.run("other").recipe.write_text("- no recipe")
    assert [run.recipe for run in workspace_use(workspace).runs] == ["digits", ""]
    clean_run(workspace, "other")
    assert names(workspace.root / "runs") == ["mine"]


@pytest.mark.parametrize("name", ["../mine", "MINE", "..", "gone"])
def test_no_other_folder_is_taken_for_a_run(name: str, workspace: Workspace) -> None:
    with pytest.raises(InputError):
        clean_run(workspace, name)
    assert names(workspace.root / "runs") == ["mine", "other"]


def _is_locked_for(user: int, run: RunDir) -> None:
    os.setgid(user)
    os.setuid(user)
    raise SystemExit(is_locked(run))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_run_that_another_user_works_on_is_seen_to_be_at_work() -> None:
    # Not below pytest's own folder, which is closed to others.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        run = Workspace(Path(folder)).run("theirs")
        fork = multiprocessing.get_context("fork")
        for at_work in (True, False):
            process = fork.Process(target=_is_locked_for, args=(65534, run))
            with exclusive(run) if at_work else nullcontext():
                process.start()
                process.join()
            assert process.exitcode == at_work
