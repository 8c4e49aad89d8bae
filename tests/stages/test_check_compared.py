"""What is the same on hosts, and what is named where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from mixnet_core.stages.check_compared import (
    judge_folder,
    judge_images,
    judge_presence,
    judge_told,
    judge_versions,
    merged,
)
from mixnet_core.stages.check_facts import Facts, Images
from mixnet_core.stages.check_result import absent, failed, good, warning

VERSIONS = {"python": "3.11", "mindspore": "2.10.0", "numpy": "1.26.4", "mixnet": "0.1.0 (abc)"}
SYSTEM = {"machine": "x86_64", "system": "Debian", "kernel": "6", "libc": "glibc 2.36"}
FACTS = Facts(
    versions=VERSIONS, system=SYSTEM, workspace="/w", file_system="nfs4", images=None, checks=()
)
SEEN: dict[str, Any] = {
    "workspaces": {0: "/w", 1: "/w"},
    "file_system": "nfs4",
    "blind": {1: []},
    "elsewhere": {},
    "locks": {1: True},
}


def test_hosts_that_do_not_come_are_named_with_how_to_start_them() -> None:
    found = judge_presence(4, [0, 2], {}, 30.0)
    assert (found.ok, found.error) == (False, "TransientError")
    assert found.detail == "hosts 1, 3 of 4 have not joined within 30 s"
    assert "--node-rank" in found.fix
    lost = judge_presence(2, [0], {1: "has given no sign of life for 5 s"}, 30.0)
    assert lost.detail == "host 1 of 2 has given no sign of life for 5 s"
    assert judge_presence(2, [0, 1], {}, 30.0).detail == "all 2 are here"


def test_who_was_told_otherwise_is_named() -> None:
    told = {"hosts": 2, "recipe": "aa"}
    assert judge_told(told, {1: told}) == []
    (found,) = judge_told(told, {1: {"hosts": 2, "recipe": "bb"}})
    assert found.detail == "host 1 was told recipe bb, host 0 aa"
    assert found.error == "InputError"


def test_one_folder_with_locks_is_fine() -> None:
    found = judge_folder(**SEEN)
    assert (found.ok, found.note) == (True, "")
    assert found.detail == "/w (nfs4): each sees what the others write, and its locks"


@pytest.mark.parametrize(
    ("seen", "error", "said"),
    [
        ({"elsewhere": {1: "/w (ext4) at 10.0.0.2"}}, "MachineError", "its workspace is /w (ext4)"),
        ({"blind": {1: [2]}}, "MachineError", "host 1 does not see in /w what host 2 wrote there"),
        ({"workspaces": {0: "/w", 1: "/v"}}, "InputError", "/v on host 1 and /w on host 0"),
    ],
)
def test_another_folder_is_named_with_its_host(seen: dict[str, Any], error: str, said: str) -> None:
    found = judge_folder(**SEEN | seen)
    assert (found.ok, found.error) == (False, error)
    assert said in found.detail


@pytest.mark.parametrize(
    ("held", "said"), [(False, "finds free"), ("no answer for 10 s", "no ans")]
)
def test_locks_that_do_not_hold_over_hosts_end_no_run(held: bool | str, said: str) -> None:
    found = judge_folder(**SEEN | {"locks": {1: held}})
    assert (found.ok, found.note) == (True, "warning")
    assert f"but not its locks: host 1 {said}" in found.detail.replace("cannot say of (", "")


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_another_version_is_named_with_its_host(name: str) -> None:
    other = FACTS.model_copy(update={"versions": VERSIONS | {name: "9.9"}})
    found = judge_versions({0: FACTS, 1: FACTS, 2: other})
    assert (found.ok, found.error) == (False, "MachineError")
    assert found.detail == f"host 2 has {name} 9.9, host 0 has {VERSIONS[name]}"
    assert judge_versions({0: FACTS, 1: FACTS}).note == ""


def test_another_system_is_said_and_ends_no_run() -> None:
    other = FACTS.model_copy(update={"system": SYSTEM | {"machine": "aarch64"}})
    found = judge_versions({0: FACTS, 1: other})
    assert (found.ok, found.note) == (True, "warning")
    assert "host 1 has machine aarch64, host 0 has x86_64" in found.detail


IMAGES = Images(line="2 classes, 8 train", digest="a" * 64, prepared=True)


def test_other_images_are_named_with_both_fingerprints() -> None:
    found = judge_images({0: IMAGES, 1: IMAGES.model_copy(update={"digest": "b" * 64})})
    assert (found.ok, found.error) == (False, "DatasetError")
    assert "host 1 has 2 classes, 8 train, fingerprint bbbbbbbb; host 0 has" in found.detail
    assert judge_images({0: IMAGES, 1: IMAGES}).note == ""


def test_images_that_are_not_prepared_are_compared_by_count_and_then_by_times() -> None:
    listed = IMAGES.model_copy(update={"prepared": False})
    fewer = listed.model_copy(update={"line": "2 classes, 7 train"})
    assert not judge_images({0: listed, 1: fewer}).ok
    copied = listed.model_copy(update={"digest": "b" * 64})
    assert judge_images({0: listed, 1: copied}).note == "warning"
    assert judge_images({0: listed.model_copy(update={"digest": None})}).note == "unknown"


def test_images_that_are_missing_on_a_host_end_as_its_error() -> None:
    gone = Images(line="", error="no folder /data: mount it", error_type="MachineError")
    found = judge_images({0: IMAGES, 1: gone})
    assert (found.ok, found.error) == (False, "MachineError")
    assert found.detail == "host 1 of 2: no folder /data: mount it"


def test_of_what_each_found_the_worst_counts_by_its_host() -> None:
    fine = [good("disk", "9 GB"), good("keys", "one"), good("keys", "two"), absent("set", "-")]
    ill = [failed("disk", "1 GB", "free space"), *fine[1:3], warning("set", "odd", "mend it")]
    results = merged({0: fine, 1: fine, 2: ill})
    assert [result.name for result in results] == ["disk", "keys", "keys", "set"]
    assert (results[0].ok, results[0].detail) == (False, "host 2 of 3: 1 GB")
    assert (results[3].note, results[3].detail) == ("warning", "host 2 of 3: odd")
    # What is equally bad on all is said once, and what is fine as host 0 says it.
    assert merged({0: ill, 1: ill})[0].detail == "1 GB"
    assert merged({0: fine, 1: [good("disk", "8 GB"), *fine[1:]]})[0].detail == "9 GB"
