"""One host leads a run; a lease that nobody keeps alive is followed by the next one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mixnet_core.errors import TransientError
from mixnet_core.runs.lease import Lease, lease, lease_held, newest_lease, owner_of, said_in, say_in
from mixnet_core.runs.pulse import Pulse
from mixnet_core.runs.run_dir import RunDir
from tests.marked import wait_until

LOST = 0.6


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "r")


def made(run: RunDir, number: int, **said: object) -> Lease:
    found = lease(run.hosts, number)
    found.folder.mkdir(parents=True)
    say_in(found.owner, {"host": "elsewhere", "pid": 7, **said})
    return found


def test_the_first_one_names_its_owner_and_beats(run: RunDir) -> None:
    assert newest_lease(run) is None
    with lease_held(run, {"hosts": 2}, print, lost_seconds=LOST) as held:
        assert newest_lease(run) == held
        assert held.number == 1
        assert said_in(held.owner)["hosts"] == 2
        assert owner_of(held).startswith(f"host {socket.gethostname()} (pid ")
        assert held.pulse(0).is_file()
        assert not held.has_ended
        assert not held.is_lost


def test_one_that_has_ended_is_followed_at_once(run: RunDir) -> None:
    made(run, 1, end={"error": None})
    lines: list[str] = []
    with lease_held(run, {}, lines.append, lost_seconds=3600) as held:
        assert held.number == 2
    assert lines == []


def test_one_whose_pulse_stands_still_is_lost_and_its_owner_sees_that(run: RunDir) -> None:
    former = made(run, 4)
    former.pulse(0).write_text("17\n")
    lines: list[str] = []
    with lease_held(run, {}, lines.append, lost_seconds=LOST) as held:
        assert held.number == 5
        assert former.is_lost
    assert lines == ["waiting for host elsewhere (pid 7), which leads run r or did"]


def test_one_that_beats_is_not_taken(run: RunDir) -> None:
    living = made(run, 1)
    with Pulse(living.pulse(0), seconds=0.05):
        expected = r"host elsewhere \(pid 7\) leads run r: wait until it has ended"
        with (
            pytest.raises(TransientError, match=expected),
            lease_held(run, {}, print, lost_seconds=LOST, wait_seconds=2 * LOST),
        ):
            pass
        assert newest_lease(run) == living


def test_of_hosts_that_come_at_once_one_leads(run: RunDir) -> None:
    def lead(_: int) -> int | None:
        try:
            with lease_held(run, {}, lambda line: None, lost_seconds=60, wait_seconds=2.5) as held:
                # Until all others have seen that it lives.
                wait_until(lambda: len(refused) == 7, "the others refused", seconds=60)
                return held.number
        except TransientError:
            refused.append(1)
            return None

    refused: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lead, range(8)))
    assert sorted(number for number in numbers if number) == [1]


def test_a_killed_process_loses_it(run: RunDir) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mixnet_core.runs.lease import lease_held\n"
        "from mixnet_core.runs.run_dir import RunDir\n"
        "with lease_held(RunDir(Path(sys.argv[1])), {}, print, lost_seconds=60):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(run.root)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
    with lease_held(run, {}, print, lost_seconds=1.5) as held:
        assert held.number == 2


def test_older_ones_are_removed_but_the_one_before(run: RunDir) -> None:
    for number in (1, 2, 3):
        made(run, number, end={})
    with lease_held(run, {}, print, lost_seconds=LOST):
        assert sorted(path.name for path in run.hosts.iterdir()) == ["lease-000003", "lease-000004"]


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps("x")])
def test_a_file_that_is_not_all_there_says_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "host-1.json").write_text(content)
    assert said_in(tmp_path / "host-1.json") == {}
