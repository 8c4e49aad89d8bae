from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mixnet_core import child
from mixnet_core.errors import DatasetError, StageFailed
from mixnet_core.failure import cause_of
from mixnet_core.files import write_json

WORKER_KILLED = (
    "[ERROR] ME(70:139,MainProcess): [_api.py:365] "
    "Worker process 71 exit with exception. Error code: -9.\n"
)


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    (tmp_path / "log.txt").write_text("")
    return tmp_path


def leave_failure(attempt: Path, rank: str, kind: str, *, time: float) -> None:
    failure: dict[str, Any] = {
        "type": kind,
        "message": f"message of {rank}",
        "expected": kind == "DatasetError",
        "retryable": False,
        "exit_code": 1,
        "rank": rank,
        "time": time,
    }
    write_json(attempt / child.failure_file(rank), failure)


def test_an_expected_error_goes_before_an_unforeseen_one_of_another_rank(attempt: Path) -> None:
    leave_failure(attempt, "0", "RuntimeError", time=1.0)
    leave_failure(attempt, "1", "DatasetError", time=2.0)
    cause = cause_of("m", attempt, 1, ranks=2)
    assert type(cause) is DatasetError
    assert str(cause) == "message of 1"


def test_of_two_unforeseen_errors_the_earlier_is_the_cause(attempt: Path) -> None:
    leave_failure(attempt, "0", "RuntimeError", time=2.0)
    leave_failure(attempt, "1", "KeyError", time=1.0)
    cause = cause_of("m", attempt, 1, ranks=2)
    assert type(cause) is StageFailed
    assert "raised KeyError on rank 1: message of 1" in str(cause)
    assert str(attempt / "workers" / "worker_1.log") in str(cause)


def test_a_killed_worker_goes_before_the_complaints_of_those_it_left(attempt: Path) -> None:
    (attempt / "log.txt").write_text(WORKER_KILLED)
    write_json(attempt / child.process_file("1"), 71)
    leave_failure(attempt, "0", "RuntimeError", time=1.0)
    leave_failure(attempt, child.SCHEDULER, "RuntimeError", time=1.0)
    cause = cause_of("m", attempt, 1, ranks=2)
    assert "m on rank 1 was ended by SIGKILL" in str(cause)
    assert cause.retryable


def test_a_worker_killed_before_it_said_its_rank_is_still_a_signal_death(attempt: Path) -> None:
    (attempt / "log.txt").write_text(WORKER_KILLED)
    cause = cause_of("m", attempt, 130, ranks=2)
    assert str(cause).startswith("m was ended by SIGKILL")
    assert str(attempt / "log.txt") in str(cause)


def test_the_last_line_told_is_not_mindspores_chatter(attempt: Path) -> None:
    (attempt / "log.txt").write_text("the reason\n[INFO] DISTRIBUTED(1,2,python): started\n\n")
    assert "last line 'the reason'" in str(cause_of("m", attempt, 3, ranks=1))
