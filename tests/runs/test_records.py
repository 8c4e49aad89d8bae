"""A run's recipe and rules: who may write them, and what an earlier version left."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.recipe.lines import recipe_lines
from mixnet_core.recipe.recipe import load_recipe, save_recipe, stored_recipe
from mixnet_core.runs.records import exclusive, existing_run, open_run
from mixnet_core.runs.run_dir import RunDir, Workspace


def begun_by_the_version_before(workspace: Workspace, **changes: object) -> RunDir:
    """A run whose recipe.yaml names no rules."""
    run = workspace.run("r")
    settings = {key.replace("__", "."): value for key, value in changes.items()}
    save_recipe(load_recipe("digits", settings), run.recipe)
    data = yaml.safe_load(run.recipe.read_text())
    del data["rules"]
    run.recipe.write_text(yaml.safe_dump(data))
    return run


def test_the_recipe_of_a_run_that_another_process_holds_stays_as_it_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    two, one = (load_recipe("digits", {"devices.ranks": ranks}) for ranks in (2, 1))
    run, _ = open_run(two, workspace, "r")
    before = run.recipe.read_bytes()
    with exclusive(run):
        with pytest.raises(TransientError, match="another process works on run r"):
            open_run(one, workspace, "r", lock_seconds=0.3)
        assert run.recipe.read_bytes() == before
        # Who would change nothing need not wait.
        assert open_run(two, workspace, "r", lock_seconds=0.0)[0] == run
    assert open_run(one, workspace, "r")[1].devices.ranks == 1
    assert stored_recipe(run.recipe).devices.ranks == 1


def test_a_new_run_follows_the_newest_rules_and_names_them(tmp_path: Path) -> None:
    run, recipe = open_run(load_recipe("digits"), Workspace(tmp_path))
    assert recipe.rules == 2
    assert yaml.safe_load(run.recipe.read_text())["rules"] == 2


def test_a_run_begun_before_there_were_rules_goes_on_by_the_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run = begun_by_the_version_before(workspace)
    assert existing_run(workspace, "r")[1].rules == 1
    before = run.recipe.read_bytes()
    # The same command as before, which names no rules.
    again, recipe = open_run(load_recipe("digits"), workspace, "r")
    assert again == run
    assert recipe.rules == 1
    # What was published from it has this file's digest.
    assert run.recipe.read_bytes() == before
    open_run(load_recipe("digits", {"devices.ranks": 1}), workspace, "r")
    assert yaml.safe_load(run.recipe.read_text())["rules"] == 1


def test_rules_change_neither_a_runs_name_nor_what_it_is_known_by(tmp_path: Path) -> None:
    plain, first = load_recipe("digits"), load_recipe("digits", {"rules": 1})
    assert plain.fingerprint == first.fingerprint


def test_a_run_keeps_its_rules(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    open_run(load_recipe("digits", {"rules": 1}), workspace, "r")
    with pytest.raises(InputError, match="run r was begun by rules 1, the recipe says 2"):
        open_run(load_recipe("digits", {"rules": 2}), workspace, "r")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (1, ["on all parameters but BatchNorm's, by rules 1", "nesterov (does nothing on a CPU"]),
        (2, ["on all parameters", "momentum 0.9 nesterov, weight"]),
    ],
)
def test_what_a_terminal_begins_with_is_what_happens(rules: int, words: list[str]) -> None:
    changes = {"optimizer.name": "momentum", "optimizer.nesterov": True, "rules": rules}
    (line,) = (line for line in recipe_lines(load_recipe("digits", changes)) if "decay" in line)
    for word in words:
        assert word in line
    assert ("rules 1" in line) == (rules == 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda record: record.update(result=1), "is damaged"),
        (lambda record: record.update(key="x", inputs=3), "is damaged"),
    ],
)
def test_a_record_that_is_none_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, object]], None], named: str
) -> None:
    from tests.stages.orders import finished_run

    done = finished_run(tmp_path)
    path = done.run.record("select")
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(Exception, match=named):
        done.records.selection()


def test_a_file_system_without_locks_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without)
    with (
        pytest.raises(MachineError, match=r"cannot lock .*/\.lock: No locks available; ") as raised,
        exclusive(Workspace(tmp_path).run("r")),
    ):
        pass
    assert "\n" not in str(raised.value)


def test_a_run_that_is_at_work_with_other_settings_is_told_apart_by_them(
    tmp_path: Path,
) -> None:
    """As a second host that was told another number of hosts."""
    workspace = Workspace(tmp_path)
    told = {"devices.hosts": 2, "devices.ranks": 1}
    run, _ = open_run(load_recipe("digits", told), workspace, "r")
    with exclusive(run):
        open_run(load_recipe("digits", told), workspace, "r", lock_seconds=0.0)
        other = load_recipe("digits", told | {"devices.hosts": 4})
        with pytest.raises(TransientError, match=r"on run r, where devices.hosts is 2, not 4: say"):
            open_run(other, workspace, "r", lock_seconds=0.0)
        named = load_recipe("digits", told | {"description": "x"})
        with pytest.raises(TransientError, match="where description is another: say the same"):
            open_run(named, workspace, "r", lock_seconds=0.0)
