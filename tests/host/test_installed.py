from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from mixnet_core.host.installed import (
    lies_in,
    parse_mindspore_check,
    parse_ranges,
    read_assignments,
    read_installed,
)
from tests.host.tools import SAMPLES, put_ascend, sample


def test_published_files_say_what_is_installed(tmp_path: Path) -> None:
    put_ascend(tmp_path, "driver-24.1.rc3.info", "firmware-24.1.rc3.info", "toolkit-8.5.0.info")
    found = read_installed(tmp_path, {})
    assert found.driver == "24.1.rc3"
    assert (found.firmware, found.firmware_hdk) == ("7.5.0.1.129", "24.1.rc3")
    assert found.driver_takes == (("7.0.0", "7.5.99"),)
    assert (found.cann, found.cann_folder) == ("8.5.0", "/usr/local/Ascend/cann")
    assert not found.sourced
    assert found.mindspore == metadata.version("mindspore")


def test_cann_is_looked_for_where_its_variable_leads_and_nowhere_else(tmp_path: Path) -> None:
    put_ascend(tmp_path, "", "", "toolkit-8.5.0.info")
    other = tmp_path / "opt" / "cann" / "x86_64-linux"
    other.mkdir(parents=True)
    (other / "ascend_toolkit_install.info").write_text(sample("toolkit-8.3.RC2.info"))
    found = read_installed(tmp_path, {"ASCEND_HOME_PATH": "/opt/cann"})
    assert (found.cann, found.sourced) == ("8.3.RC2", True)
    found = read_installed(tmp_path, {"ASCEND_HOME_PATH": "/opt/none"})
    assert (found.cann, found.sourced) == (None, True)


def test_the_older_layout_and_one_without_the_toolkits_file_are_read(tmp_path: Path) -> None:
    latest = tmp_path / "usr/local/Ascend/ascend-toolkit/latest"
    (latest / "compiler").mkdir(parents=True)
    (latest / "compiler" / "version.info").write_text("Version=8.2.0.0.201\nversion_dir=8.2.RC1\n")
    assert read_installed(tmp_path, {}).cann == "8.2.RC1"
    (latest / "aarch64-linux").mkdir()
    (latest / "aarch64-linux" / "ascend_toolkit_install.info").write_text("version=8.2.RC2\n")
    assert read_installed(tmp_path, {}).cann == "8.2.RC2"


def test_nothing_installed_is_nothing_known(tmp_path: Path) -> None:
    found = read_installed(tmp_path, {})
    assert (found.driver, found.firmware, found.cann, found.driver_takes) == (None, None, None, ())
    folder = tmp_path / "usr/local/Ascend/driver/version.info"
    folder.mkdir(parents=True)
    assert read_assignments(folder) == {}
    assert read_installed(tmp_path, {}).driver is None
    folder.rmdir()
    # What a package is of comes before what a part of it is.
    folder.write_text("Version=7.35.23\npackage_version=26.0.rc1\n")
    assert read_installed(tmp_path, {}).driver == "26.0.rc1"
    (tmp_path / "bytes").write_bytes(b"\xff\xfe=\x00\nVersion=1\n")
    assert read_assignments(tmp_path / "bytes")["Version"] == "1"


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("7.7.0.1.231", True),
        ("7.0.0", True),
        ("7.7.99.9", True),
        ("6.4.12.1.241", True),
        ("7.8.0.7.220", False),
        ("6.5.0", False),
        ("6.3.99", False),
        ("7.x", None),
    ],
)
def test_a_firmware_is_in_the_drivers_ranges_or_not(version: str, fits: bool | None) -> None:
    file = read_assignments(SAMPLES / "driver-25.0.rc1.1.info")
    assert lies_in(version, parse_ranges(file["compatible_version_fw"])) is fits
    assert lies_in(version, ()) is None


def test_mindspore_itself_says_which_cann_it_was_made_for() -> None:
    takes = read_installed(Path("/nowhere"), {}).mindspore_takes
    assert takes
    assert all(len(version.split(".")) == 2 for version in takes)
    other = "class GPUEnvChecker:\n self.version = ['11.1']\nclass X: pass"
    assert parse_mindspore_check(other) == ()
    assert parse_mindspore_check("") == ()
