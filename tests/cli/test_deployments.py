"""`mixnet deployments`, on the prefect.yaml of this checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mixnet_core.cli.app import app
from mixnet_core.cli.deployments import NEXT, write_deployments
from mixnet_core.errors import InputError, MachineError

ROOT = Path(__file__).parents[2]


def test_the_checkouts_own_file_is_written_and_the_next_commands_are_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["deployments", str(tmp_path / "made" / "here")])
    assert done.exit_code == 0, done.output
    written = tmp_path / "made" / "here" / "prefect.yaml"
    assert written.read_bytes() == (ROOT / "prefect.yaml").read_bytes()
    assert [path.name for path in written.parent.iterdir()] == ["prefect.yaml"]
    first, *commands = done.output.splitlines()
    assert str(written) in first
    assert [line.strip() for line in commands] == list(NEXT)


def test_the_same_file_is_let_be_and_the_checkouts_is_the_same() -> None:
    before = (ROOT / "prefect.yaml").lstat()
    assert write_deployments(ROOT) == ROOT / "prefect.yaml"
    assert (ROOT / "prefect.yaml").lstat() == before


def test_a_file_that_differs_is_kept_and_named_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("name: mine\n")
    with pytest.raises(InputError, match=r"prefect\.yaml is there and differs") as caught:
        write_deployments(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / "prefect.yaml").read_text() == "name: mine\n"


def test_a_folder_of_that_name_is_kept_too(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").mkdir()
    with pytest.raises(InputError):
        write_deployments(tmp_path)


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="choose another folder"):
        write_deployments(tmp_path / "file" / "below")


def test_without_the_package_of_flows_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> None:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(resources, "files", missing)
    with pytest.raises(MachineError, match="install mindspore-mixnet again"):
        write_deployments(tmp_path)
    assert list(tmp_path.iterdir()) == []
