from __future__ import annotations

import builtins
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from mixnet_core import errors
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.recipe.sections import Devices
from mixnet_core.stages import check_machine
from mixnet_core.stages.check_machine import (
    check_device,
    check_engine,
    check_extras,
    check_msrun,
    check_operators,
    check_packages,
    check_virtual_ranks,
)
from mixnet_core.stages.check_result import CheckResult
from tests.stages.checking import failure, with_versions


def devices(target: str, ranks: int = 1) -> Devices:
    return load_recipe("digits").devices.model_copy(update={"target": target, "ranks": ranks})


def test_missing_native_operators_fail_where_they_are_demanded_and_are_said_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unbuildable(wanted: str, *, target: str) -> str:
        if wanted == "native":
            raise errors.MachineError("no C++ compiler on PATH: install one")
        return "plain"

    monkeypatch.setattr(check_machine, "choose_operators", unbuildable)
    auto = devices("CPU")
    assert check_operators(auto).detail == "plain operators, many times slower than native"
    demanded = failure(check_operators(auto.model_copy(update={"operators": "native"})))
    assert str(demanded) == "no C++ compiler on PATH: install one"
    chosen = auto.model_copy(update={"operators": "plain"})
    assert check_operators(chosen).detail == "plain operators"


def test_an_engine_that_is_not_installed_is_said_before_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = devices("CPU").model_copy(update={"engine": "openvino"})
    assert check_engine(named).ok
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert "pip install openvino" in str(failure(check_engine(named)))
    assert check_engine(devices("CPU")).detail == "mindspore evaluates"


def test_results_survive_storage_as_json() -> None:
    result = check_device(devices("Ascend"), dev=Path("/nowhere"), toolkit=Path("/nowhere"))
    assert CheckResult.model_validate_json(result.model_dump_json()) == result


def test_installed_packages_are_named_without_importing_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str, *rest: Any) -> Any:
        assert name != "mindspore"
        return imported(name, *rest)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    result = check_packages()
    assert result.ok
    assert metadata.version("mindspore") in result.detail


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"numpy": "1.26.4"}, "mindspore is not installed; pip install mindspore"),
        ({"mindspore": "2.10.0"}, "numpy is not installed; pip install numpy"),
        (
            {"mindspore": "2.10.0", "numpy": "2.1.0"},
            "numpy 2.1.0 is installed, mindspore 2.10.0 works with numpy 1 only; "
            "pip install 'numpy<2'",
        ),
    ],
)
def test_packages_that_do_not_work_are_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, versions: dict[str, str], message: str
) -> None:
    with_versions(monkeypatch, tmp_path, versions)
    result = check_packages()
    monkeypatch.undo()
    assert str(failure(result)) == message


@pytest.mark.parametrize(("target", "file"), [("Ascend", "davinci0"), ("GPU", "nvidia0")])
def test_a_device_is_looked_for_among_the_machines_device_files(
    tmp_path: Path, target: str, file: str
) -> None:
    # The manager's file is there on machines without a chip.
    (tmp_path / f"{file[:-1]}_manager").touch()
    result = check_device(devices(target), dev=tmp_path, toolkit=tmp_path / "Ascend")
    assert f"devices.target is {target}, but this machine has no" in str(failure(result))
    (tmp_path / file).touch()
    assert check_device(devices(target), dev=tmp_path, toolkit=tmp_path / "Ascend").ok


def test_ascends_toolkit_alone_is_no_device_and_a_cpu_is_always_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Ascend").mkdir()
    error = failure(check_device(devices("Ascend"), dev=tmp_path, toolkit=tmp_path / "Ascend"))
    assert "alone is no device: install the driver, or pass --device" in str(error)
    assert check_device(devices("CPU"), dev=tmp_path).ok
    # Where device files do not tell, somebody may.
    monkeypatch.setenv("MIXNET_DEVICES", "0,1")
    assert check_device(devices("Ascend"), dev=tmp_path).detail == "Ascend: found 0, 1"


def test_there_must_be_as_many_devices_as_ranks(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"davinci{number}").touch()
    assert check_device(devices("Ascend"), ranks=4, dev=tmp_path).ok
    error = failure(check_device(devices("Ascend"), ranks=8, dev=tmp_path))
    assert "devices.ranks is 8, but this machine has 4 Ascend device(s)" in str(error)


def test_msrun_is_needed_beside_python_for_more_than_one_rank(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    assert check_msrun(devices("CPU", 1), python=python).ok
    error = failure(check_msrun(devices("CPU", 2), python=python))
    assert f"no executable {tmp_path}/bin/msrun" in str(error)
    python.parent.mkdir()
    (python.parent / "msrun").touch(0o644)
    assert not check_msrun(devices("CPU", 2), python=python).ok
    (python.parent / "msrun").chmod(0o755)
    assert check_msrun(devices("CPU", 2), python=python).ok


def test_virtual_ranks_say_on_how_many_ranks_the_same_is_computed() -> None:
    settings = {"training.virtual_ranks": 4, "devices.ranks": 2, "training.global_batch": 32}
    found = check_virtual_ranks(load_recipe("digits", settings))
    assert found.detail == (
        "global batch 32 = 4 virtual ranks x 8 on 2 ranks; the same bits on 1, 2 or 4, each on one "
        "thread"
    )


def test_all_that_is_not_installed_is_named_with_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("digits")
    assert check_extras(recipe, "file:///releases").ok
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    hidden = ("cv2", "matplotlib", "jinja2", "boto3")
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        monkeypatch.delitem(sys.modules, name)
    local, remote = (check_extras(recipe, to) for to in ("file:///releases", "s3://bucket/x"))
    monkeypatch.undo()
    assert str(failure(local)).endswith("; pip install opencv-python-headless matplotlib jinja2")
    assert "boto3 (for an s3:// address)" in str(failure(remote))
