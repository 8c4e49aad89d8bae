"""What `make serve` runs, on programs that stand for server and worker."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mixnet_core.errors import JobFailed
from mixnet_flows.infra import running as module
from mixnet_flows.infra.running import Program, running
from tests.flows.conftest import eventually
from tests.small_disk import small_disk

WRITES = "import time\nwhile True: print('x' * 99, flush=True); time.sleep(0.01)"
ENDS = "print('ended', flush=True)"


def program(home: Path, text: str) -> Program:
    return Program("it", [sys.executable, "-c", text], None, home)


def test_what_ends_by_itself_is_started_again_until_it_ends_at_once_each_time(
    tmp_path: Path,
) -> None:
    with running(program(tmp_path, ENDS)) as found:
        for _ in range(2):
            eventually(lambda: not found.is_running(), 20)
            eventually(found.start_again, 20)
        eventually(lambda: not found.is_running(), 20)
        with pytest.raises(JobFailed, match=r"it ended 3 times, each within 60 s: see .*it.log"):
            found.start_again()
    assert found.log.read_text() == "ended\n" * 3


def test_what_served_for_a_while_is_started_again_as_often_as_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_USEFUL_SECONDS", 0.0)
    with running(program(tmp_path, ENDS)) as found:
        for _ in range(5):
            eventually(lambda: not found.is_running(), 20)
            found.start_again()


def test_what_once_served_is_tried_again_with_pauses_for_as_long_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.5)
    with running(program(tmp_path, ENDS)) as found:
        found._started -= module._USEFUL_SECONDS
        waited = 0
        # As a server whose database is away: the runs need neither for a while.
        for _ in range(module._MOST_USELESS + 3):
            eventually(lambda: not found.is_running(), 20)
            while not found.start_again():
                waited += 1
                time.sleep(0.1)
    assert waited >= 3


def test_a_log_that_cannot_be_copied_for_want_of_room_gives_its_room_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_LOG_BYTES", 2_000_000)
    with small_disk(tmp_path / "disk", "3m") as disk, running(program(disk, WRITES)) as found:
        found.log.write_bytes(b"x" * 2_000_000)
        found.shorten_log()
        assert found.log.stat().st_size < 1_000_000
        assert not (disk / "it.log.1").exists()
        assert found.is_running()


def test_a_log_is_kept_short_while_its_program_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_LOG_BYTES", 2_000)
    with running(program(tmp_path, WRITES)) as found:
        eventually(lambda: found.log.stat().st_size > 3_000, 20)
        found.shorten_log()
        before = (tmp_path / "it.log.1").read_text()
        assert len(before) > 3_000
        time.sleep(0.3)
        eventually(lambda: found.log.read_bytes()[:1] == b"x", 20)
        assert found.is_running()
    assert not found.is_running()
    # From the start of the file, not behind a hole.
    assert found.log.read_text().startswith("x")
    assert "\0" not in found.log.read_text()
