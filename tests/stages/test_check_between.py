"""`mixnet check --hosts` on hosts that are network namespaces, as a person starts it on each."""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixnet_core.errors import (
    DatasetError,
    InputError,
    IntegrityError,
    MachineError,
    TransientError,
)
from mixnet_core.runs.lease import newest_lease, said_in
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.stages.check_collective import MODULE
from tests.data.samples import write_image, write_image_folder
from tests.marked import marked, wait_until
from tests.tiny import options
from tests.train.network import RUN, Host, prepare

pytestmark = pytest.mark.slow

Hosts = tuple[Host, Host]
ALONE = "--no-collective"
JOIN_SECONDS = 2


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "w").mkdir()
    return Workspace(tmp_path / "w")


def start(hosts: Hosts, workspace: Workspace, *words: str, only: int | None = None) -> None:
    for host in hosts:
        if only in (None, host.number):
            told = ("--hosts=2", f"--node-rank={host.number}", f"--master={hosts[0].address}")
            host.start(workspace, "check", *told, *words)


def row(host: Host, name: str) -> str:
    """A line of the table that a host printed, without what pads it."""
    lines = [line.split() for line in host.log.read_text().splitlines()]
    return next((" ".join(words) for words in lines if words[1:2] == [name]), "")


def settings(**more: Any) -> tuple[str, ...]:
    own = {"devices__join_seconds": JOIN_SECONDS, "devices__ranks": 1}
    return ("digits", *options(**{**own, **more}))


def test_two_hosts_that_are_well_say_so_on_both(hosts: Hosts, workspace: Workspace) -> None:
    start(hosts, workspace, ALONE)
    assert [host.end(60) for host in hosts] == [0, 0], [host.log.read_text() for host in hosts]
    assert row(hosts[0], "hosts") == "ok hosts all 2 are here"
    assert row(hosts[0], "folder").endswith("each sees what the others write, and its locks")
    for name in ("versions", "ports", "clocks", "network"):
        assert row(hosts[0], name).startswith("ok "), hosts[0].log.read_text()
    assert row(hosts[0], "collective") == "- collective not tried: --no-collective"
    assert row(hosts[1], "hosts") == "ok hosts host 0 prints 9 checks, none of which fails"


@pytest.mark.long
def test_with_a_run_its_images_are_compared_and_an_all_reduce_is_made(
    hosts: Hosts, tmp_path: Path
) -> None:
    workspace = prepare(tmp_path / "w", epochs=1)
    start(hosts, workspace, f"--run={RUN}", "--json")
    assert [host.end() for host in hosts] == [0, 0], [host.log.read_text() for host in hosts]
    said = [host.log.read_text() for host in hosts]
    checks = [json.loads(text[text.index("{") :])["checks"] for text in said]
    assert checks[0] == checks[1]
    found = {check["name"]: check for check in checks[0]}
    assert "fingerprint" in found["images"]["detail"]
    assert found["images"]["detail"].endswith("on all 2")
    assert found["collective"]["note"] == ""
    assert "all-reduce of 16.5 MB over 2 hosts" in found["collective"]["detail"]
    assert found["collective"]["detail"].endswith("the sum is right")
    # It leaves nothing that the next one would have to clear away.
    assert not list(workspace.root.glob("check-hosts/attempts/collective/attempt-*"))


@pytest.mark.parametrize("there", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_host_that_does_not_come_is_named_within_the_limit(
    there: int, hosts: Hosts, workspace: Workspace
) -> None:
    start(hosts, workspace, ALONE, *settings(), only=there)
    # Nearly all of it is starting Python on a busy machine.
    assert hosts[there].end(120) == TransientError.exit_code
    missing = f"host {1 - there} of 2 has not joined within {JOIN_SECONDS} s"
    assert missing in hosts[there].last_line()
    if there == 0:
        # What it can say of itself it says all the same.
        assert row(hosts[0], "hosts").startswith(f"FAIL hosts {missing}")
        assert row(hosts[0], "data").startswith("ok ")


@pytest.mark.long
def test_a_cable_that_is_out_is_named_by_both_ends(hosts: Hosts, workspace: Workspace) -> None:
    hosts[1].cut()
    start(hosts, workspace, *settings(devices__join_seconds=30))
    assert [host.end(90) for host in hosts] == [TransientError.exit_code] * 2
    assert row(hosts[0], "network").startswith("FAIL network host ")
    assert row(hosts[0], "collective") == "- collective not tried: see network"
    for host in hosts:
        assert "does not reach host" in host.last_line()
        assert "look at the network between them" in host.last_line()
    assert row(hosts[1], "hosts").endswith("of which fail: network")


@pytest.mark.long
def test_a_host_behind_a_firewall_is_mute_within_five_seconds(
    hosts: Hosts, workspace: Workspace
) -> None:
    hosts[1].drop(hosts[0].address)
    start(hosts, workspace, ALONE, *settings(devices__join_seconds=30))
    assert hosts[0].end(90) == TransientError.exit_code
    assert f"does not reach host 1 at {hosts[1].address}:" in row(hosts[0], "network")
    assert "no answer within 5 s" in hosts[0].log.read_text()


@pytest.mark.long
def test_a_slow_link_is_named_with_its_rate_and_ends_nothing(
    hosts: Hosts, workspace: Workspace
) -> None:
    hosts[1].slow_down("80mbit")
    start(hosts, workspace, ALONE)
    assert [host.end(90) for host in hosts] == [0, 0]
    said = row(hosts[0], "network")
    assert said.startswith("WARN network 2 ways between 2 hosts")
    assert "slow: host 1 to host 0" in said


@pytest.mark.long
def test_a_host_that_falls_silent_is_named_and_the_other_ends(
    hosts: Hosts, workspace: Workspace
) -> None:
    start(hosts, workspace, ALONE, *settings(devices__join_seconds=60, devices__lost_seconds=3))
    meeting = RunDir(workspace.root / "check-hosts")

    def has_come() -> bool:
        lease = newest_lease(meeting)
        return lease is not None and "told" in said_in(lease.host(1))

    wait_until(has_come, "host 1 came", seconds=60)
    process = hosts[1].process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    assert hosts[0].end(60) == TransientError.exit_code
    assert "host 1 of 2 has given no sign of life for 3 s" in hosts[0].last_line()
    process.send_signal(signal.SIGCONT)
    assert hosts[1].end(60) == TransientError.exit_code


@pytest.mark.long
def test_images_that_differ_are_named_with_their_host(
    hosts: Hosts, workspace: Workspace, tmp_path: Path
) -> None:
    images = write_image_folder(tmp_path / "images", {"a": 8, "b": 8}, {"a": 2, "b": 2})
    other = Path(shutil.copytree(images, tmp_path / "other"))
    write_image(other / "train" / "a" / "more.png", "one more")
    hosts[1].disks[images] = other
    words = (ALONE, *settings(devices__join_seconds=60), f"--data={images}")
    start(hosts, workspace, *words)
    assert [host.end(90) for host in hosts] == [DatasetError.exit_code] * 2
    said = row(hosts[0], "images")
    assert said.startswith("FAIL images host 1 has ")
    assert "13 train" in said
    assert "12 train" in said


@pytest.mark.long
def test_a_prepared_image_that_a_host_lacks_is_named_with_it(
    hosts: Hosts, workspace: Workspace, tmp_path: Path
) -> None:
    images = write_image_folder(tmp_path / "images", {"a": 8, "b": 8}, {"a": 2, "b": 2})
    other = Path(shutil.copytree(images, tmp_path / "other"))
    (other / "train" / "a" / "000.png").unlink()
    words = (*settings(devices__join_seconds=60, data__layout="in_place"), f"--data={images}")
    hosts[0].start(workspace, "prepare", *words)
    assert hosts[0].end(90) == 0, hosts[0].log.read_text()
    hosts[1].disks[images] = other
    # The run is found by its recipe: the same words as of preparing.
    start(hosts, workspace, ALONE, *words)
    assert [host.end(90) for host in hosts] == [IntegrityError.exit_code] * 2
    assert row(hosts[0], "images").startswith("FAIL images host 1 of 2: ")
    assert "000.png" in row(hosts[0], "images")


@pytest.mark.long
def test_a_workspace_of_its_own_is_told_from_a_host_that_is_away(
    hosts: Hosts, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "local").mkdir()
    hosts[1].disks[workspace.root] = tmp_path / "local"
    start(hosts, workspace, ALONE, *settings(devices__join_seconds=12))
    assert [host.end(90) for host in hosts] == [MachineError.exit_code] * 2
    assert row(hosts[0], "hosts").startswith("ok ")
    said = row(hosts[0], "folder")
    assert "host 1 answers, and does not see this folder" in said
    assert hosts[1].address in said
    assert "host 0 of 2 answers at 10.83.0.1:" in hosts[1].last_line()


@pytest.mark.long
def test_hosts_that_were_told_otherwise_are_named(hosts: Hosts, workspace: Workspace) -> None:
    start(hosts, workspace, ALONE, *settings(devices__join_seconds=60), only=0)
    start(hosts, workspace, ALONE, *settings(devices__join_seconds=60, training__seed=9), only=1)
    assert [host.end(90) for host in hosts] == [InputError.exit_code] * 2
    assert row(hosts[0], "told").startswith("FAIL told host 1 was told recipe ")


def rank_of(host: Host) -> list[psutil.Process]:
    """The process of its rank, once MindSpore's launcher has started it."""
    found = []
    for process in marked(host.mark):
        with suppress(psutil.Error):
            words = process.cmdline()
            if words[1:3] == ["-m", MODULE] and process.environ().get("RANK_ID") == "1":
                found.append(process)
    return found


@pytest.mark.long
def test_a_rank_that_is_killed_in_the_all_reduce_is_named_with_its_host(
    hosts: Hosts, workspace: Workspace
) -> None:
    start(hosts, workspace)
    wait_until(lambda: bool(rank_of(hosts[1])), "the rank of host 1", seconds=90)
    for process in rank_of(hosts[1]):
        process.kill()
    codes = [host.end(170) for host in hosts]
    said = row(hosts[0], "collective")
    assert said.startswith("FAIL collective host 1 of 2: mixnet_core.train.collective ")
    assert "SIGKILL" in said
    assert codes == [TransientError.exit_code] * 2
