from __future__ import annotations

import os
from pathlib import Path

import pytest

from mixnet_core.host import command
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.check_host import check_host
from mixnet_core.stages.check_result import CheckResult
from tests.host.tools import put_ascend, put_program, sample

ROWS = [
    "python",
    "packages",
    "workspace",
    "locks",
    "room",
    "shm",
    "memory",
    "files",
    "processes",
    "cores",
    "driver",
    "cann",
    "set",
    "devices",
    "links",
    "ports",
    "prefect",
    "clock",
]


def test_without_a_recipe_every_part_of_the_host_has_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_FOLDERS", ())
    bare = {"PREFECT_HOME": str(tmp_path / "prefect")}
    results = check_host(
        Workspace(tmp_path / "w"), root=tmp_path / "none", dev=tmp_path, environment=bare
    )
    assert [result.name for result in results] == ROWS
    assert all("\n" not in result.detail + result.fix for result in results)
    gone = {result.name for result in results if result.note == "absent"}
    assert gone == {"driver", "cann", "set", "devices", "links", "prefect"}


def test_a_host_with_cards_is_read_from_its_tools_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    put_program(
        tools,
        "npu-smi",
        {"info -t board": sample("board-23.0.5.txt"), "info": sample("info-24.1.1-910b4.txt")},
    )
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    root = put_ascend(
        tmp_path / "root", "driver-24.1.rc3.info", "firmware-24.1.rc3.info", "toolkit-8.5.0.info"
    )
    devices = load_recipe("digits").devices.model_copy(update={"target": "Ascend", "ranks": 2})
    recipe = load_recipe("digits").model_copy(update={"devices": devices})
    found = {
        result.name: result
        for result in check_host(
            Workspace(tmp_path / "w"),
            recipe,
            root=root,
            environment={
                "PREFECT_HOME": str(tmp_path),
                "ASCEND_HOME_PATH": "/usr/local/Ascend/cann",
            },
        )
    }
    # `check_all` has these with a recipe.
    assert set(found) == set(ROWS) - {"packages", "workspace"}
    assert found["devices"].detail == "2 x 910B4, all OK"
    assert found["driver"].detail.startswith("driver 24.1.rc3, firmware 7.1.0.7.220")
    assert found["cann"].detail.startswith("CANN 8.5.0 in /usr/local/Ascend/cann")
    assert found["set"].ok
    assert "CANN 8.5.0, driver 24.1.rc3" in found["set"].detail


def test_an_ill_card_ends_no_run_that_does_not_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, ill = tmp_path / "tools", sample("info-24.1.1-910b4.txt").replace("OK   ", "Alarm", 1)
    put_program(tools, "npu-smi", {"info -t": "", "info": ill})
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    bare = {"PREFECT_HOME": str(tmp_path)}

    def row(recipe: Recipe | None) -> CheckResult:
        results = check_host(Workspace(tmp_path / "w"), recipe, root=tmp_path, environment=bare)
        return next(result for result in results if result.name == "devices")

    assert not row(None).ok
    assert (row(load_recipe("digits")).ok, row(load_recipe("digits")).note) == (True, "warning")
