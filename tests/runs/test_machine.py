from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from mixnet_core.runs.machine import ascend_versions, this_machine

FILES = {
    "usr/local/Ascend/driver/version.info": "Version=24.1.0\nascendhal_version=7.35.23\n",
    "usr/local/Ascend/firmware/version.info": "Version=7.5.0.3.220\nfirmware_version=1.0\n",
    "usr/local/Ascend/ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info": (
        "package_name=Ascend-cann-toolkit\nversion=8.0.0.beta1\ninnerversion=V100R001\n"
    ),
}


@pytest.fixture(autouse=True)
def no_ascend(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        monkeypatch.delenv(name, raising=False)


def installed(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_an_ascends_versions_are_read_where_its_guides_name_them(tmp_path: Path) -> None:
    assert ascend_versions(installed(tmp_path, FILES)) == {
        "ascend_driver": "24.1.0",
        "ascend_firmware": "7.5.0.3.220",
        "cann": "8.0.0.beta1",
    }


def test_another_place_is_where_the_machine_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {name.replace("usr/local/Ascend", "opt/npu"): text for name, text in FILES.items()}
    note = {"etc/ascend_install.info": "UserName=a\nDriver_Install_Path_Param=/opt/npu\n"}
    installed(tmp_path, moved | note)
    monkeypatch.setenv("ASCEND_HOME_PATH", "/opt/npu/ascend-toolkit/latest")
    assert ascend_versions(tmp_path) == {
        "ascend_driver": "24.1.0",
        "ascend_firmware": "7.5.0.3.220",
        "cann": "8.0.0.beta1",
    }


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert set(ascend_versions(tmp_path).values()) == {""}
    odd = dict.fromkeys(FILES, "nothing of the kind\n")
    assert set(ascend_versions(installed(tmp_path, odd)).values()) == {""}


def test_this_machine_says_its_processor_and_packages() -> None:
    found = this_machine("CPU")
    assert found.processor
    assert found.cores >= 1
    assert found.packages["mindspore"] == metadata.version("mindspore")
    assert "mindspore-mixnet" in found.packages
    assert (found.ascend_driver, found.cann) == ("", "")
