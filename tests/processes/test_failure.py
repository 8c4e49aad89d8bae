from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import DatasetError, JobFailed, MachineError
from mixnet_core.processes import child
from mixnet_core.processes.device_faults import FAULTS
from mixnet_core.processes.failure import cause_of
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.storage.files import write_json

WORKER_KILLED = (
    "[ERROR] ME(70:139,MainProcess): [_api.py:365] "
    "Worker process 71 exit with exception. Error code: -9.\n"
)


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    (tmp_path / "log.txt").write_text("")
    return tmp_path


def leave_failure(attempt: Path, rank: str, kind: str, *, time: float, ahead: float = 0.0) -> None:
    """ahead: of the disk's clock, the rank's, in seconds."""
    failure: dict[str, Any] = {
        "type": kind,
        "message": f"message of {rank}",
        "expected": kind == "DatasetError",
        "retryable": False,
        "exit_code": 1,
        "rank": rank,
        "time": time + ahead,
    }
    write_json(attempt / child.failure_file(rank), failure)
    os.utime(attempt / child.failure_file(rank), (time, time))


def test_an_expected_error_goes_before_an_unforeseen_one_of_another_rank(attempt: Path) -> None:
    leave_failure(attempt, "0", "RuntimeError", time=1.0)
    leave_failure(attempt, "1", "DatasetError", time=2.0)
    cause = cause_of("m", attempt, 1, ranks=2)
    assert type(cause) is DatasetError
    assert str(cause) == "message of 1"


def test_an_error_that_is_made_of_more_than_a_message_is_told_as_what_it_is_one_of(
    attempt: Path,
) -> None:
    failure = {"type": "UnusableImage", "expected": True, "retryable": False, "time": 1.0}
    failure |= {"message": "a.png cannot be used (it is empty): replace it", "rank": "0"}
    write_json(attempt / child.failure_file("0"), failure)
    cause = cause_of("m", attempt, 2, ranks=1)
    assert type(cause) is DatasetError
    assert str(cause) == failure["message"]


@pytest.mark.parametrize("ahead", [0.0, 600.0])
def test_of_two_unforeseen_errors_the_earlier_is_the_cause_whatever_the_hosts_clocks_say(
    attempt: Path, ahead: float
) -> None:
    leave_failure(attempt, "0", "RuntimeError", time=2.0)
    leave_failure(attempt, "1", "KeyError", time=1.0, ahead=ahead)
    cause = cause_of("m", attempt, 1, ranks=2)
    assert type(cause) is JobFailed
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
    assert str(cause).startswith("m was ended by SIGKILL, from outside or for want of memory")
    assert str(attempt / "log.txt") in str(cause)


def test_a_rank_that_the_others_missed_is_blamed_and_not_the_one_that_was_ended_for_it(
    attempt: Path,
) -> None:
    (attempt / "log.txt").write_text(WORKER_KILLED.replace("-9", "-15"))
    write_json(attempt / child.process_file("0"), 71)
    write_json(attempt / child.process_file("1"), 72)
    leave_failure(attempt, child.SCHEDULER, "RuntimeError", time=1.0)
    (attempt / "workers").mkdir()
    (attempt / "workers" / "scheduler.log").write_text(
        "[ERROR] DISTRIBUTED(4037,7ffacde9e6c0,python): [meta_server_node.cc:548] UpdateTopoState] "
        "The node: 1 is timed out. It may exit with exception, please check this node's log.\n"
    )
    cause = cause_of("m", attempt, 1, ranks=2)
    assert "m lost rank 1, of which the others heard nothing (it or its network" in str(cause)
    assert str(cause).endswith("worker_1.log")
    assert cause.retryable
    assert "(it was stopped (SIGSTOP))" in str(cause_of("m", attempt, 1, ranks=2, stopped=("1",)))


# Lines of public logs, shortened, and what is to be read from them: (source, text, said, again).
PUBLIC_LOGS = [
    (
        "PKU-YuanGroup/Helios#62",
        "[PID: 210907] 2026-04-09-21:56:40.384.694 Memory_Allocation_Failure(EL0004): Failed to "
        "allocate memory requested by GE module.\n  Possible Cause: Available memory is",
        "the device's memory is used up",
        None,
    ),
    (
        "candle-org/MindAct#1761",
        "[ERROR] PRE_ACT(54175,fffdbcff91e0,python):2024-10-22-11:24:55.301.443 [mem_dynamic_"
        "allocator.cc:392] AddMemBlockAndMemBufByEagerFree] TotalUsedMemStatistics : 29356337664 "
        "plus TotalUsedByEventMemStatistics : 0 and plus alloc size : 301990400 is more than total "
        "mem size : 29464985600.",
        "the device's memory is used up",
        None,
    ),
    (
        "mindspore-ai/mindspore#172",
        "[ERROR] MD(14433,7fea2effd700,python): [task.cc:67] operator()] Task: - thread("
        "140643787593472) is terminated with err msg: Out of memory. Memory malloc failed.",
        "this machine's memory is used up",
        None,
    ),
    (
        "vllm-project/vllm-ascend#8186",
        "[PID: 389] 2026-05-01-10:59:14.702.326 Device_Absent/Abnormal(EL0001): Device not found "
        "or invalid.\n  Device[1] lost heartbeat.[FUNC:SyncTask][FILE:direct_hwts_engine.cc]\n"
        "  wait for compute device to finish failed, runtime result = 507010.",
        "stopped answering",
        True,
    ),
    (
        "vllm-project/vllm-ascend#8186, its second part",
        "[PID: 389] 2026-05-01-10:58:51.789.768 Device_Absent/Abnormal(EL0001): Device not found "
        "or invalid.\n  Possible Cause: Device does not exist or is abnormal.",
        "the card is not there",
        False,
    ),
    (
        "vllm-project/vllm-ascend#1815",
        "RuntimeError: EJ0002: [PID: 38079] 2025-07-15-12:45:31.202.787 The network port is down.",
        "a network port or link between cards is down",
        True,
    ),
    (
        "hiyouga/LlamaFactory#3839",
        "EJ0001: 2024-05-21-11:57:54.167.645 Failed to initialize the HCCP process. Reason: Maybe "
        "the last training process is running.\n  Solution: Wait for 10s after killing the last",
        "still held by the training before",
        True,
    ),
    (
        "mindspore-lab/mindone#269",
        "RuntimeError: Sync stream error!\n  The error from device(0), serial number is 111, there "
        "is an aicore error, core id is 19, error code = 0x800000, dump info: pc start: 0x10001200",
        "AI core exception",
        True,
    ),
    (
        "vllm-project/vllm-ascend#2763",
        "EZ9999: Inner Error!\nEZ9999: [PID: 838] 2025-09-04-09:50:11.954.378 The error from device"
        "(chipId:6, dieId:0), serial number is 8, there is an exception of aivec error, core id is",
        "AI core exception",
        True,
    ),
    (
        "vllm-project/vllm-ascend#5661",
        "RuntimeError: ACL stream synchronize failed, error code:507015",
        "AI core exception",
        True,
    ),
    (
        "candle-org/MindAct#1752",
        "E39999: Inner Error!\nE39999: 2024-10-20-22:34:40.965.193 The error from device(chipId:0, "
        "dieId:0), serial number is 3, an exception occurred during AICPU execution, stream_id:2",
        "AI CPU exception",
        True,
    ),
    (
        "Ascend/pytorch#166",
        "EE9999[PID: 43311] The error from device(chipId:1, dieId:0), serial number is 6. there is "
        "a fftsplus sdma error, sdma channel is 2, sdmaState=0x6",
        "SDMA error",
        True,
    ),
    (
        "hiyouga/LlamaFactory#5071",
        "EI0006: 2024-08-05-18:15:21.270.506 Getting socket times out. Reason: Remote Rank did not "
        "send the data in time. Please check the reason for the rank being stuck",
        "it waited in vain for another rank",
        True,
    ),
    (
        "vllm-project/vllm-ascend#3162",
        "EI0009: [PID: 2225827] 2025-09-24-20:59:48.119.066 Transport init error. Reason: [Create]"
        "[DestLink]Create Dest error! createLink para:rank[1]-localUserrank[1]",
        "it waited in vain for another rank",
        True,
    ),
    (
        "Ascend/pytorch#48",
        "EE1002: 2024-09-03-16:50:00.041.231 Stream synchronize timeout.\n"
        "  wait for compute device to finish failed, runtime result = 507046.[FUNC:Report",
        "it waited in vain for another rank",
        True,
    ),
    (
        "hiascend.com, HCCL user guide, EI0004",
        "EI0004: 2024-04-24-06:31:33.915.634 The ranktable or rank is invalid, Reason:[The ip in "
        "ranktable is not a valid ip address]. Please check the configured ranktable.",
        "rank table",
        False,
    ),
    (
        "mindspore-ai/mindspore#319",
        "RuntimeError: Sync stream failed\n- Ascend Error Message:\nEZ9999: Inner Error!",
        "inner error",
        True,
    ),
    (
        "MindSpore's symbol_utils.h: UCEError",
        "CallAclrt failed, error code: 507054",
        "uncorrectable ECC error",
        True,
    ),
    (
        "MindSpore 2.10 here: a host of two was killed while their ranks joined",
        "RuntimeError: Failed to initialize distributed job cluster because some processes in the "
        "cluster are not successfully spawned.",
        "the ranks did not all join",
        True,
    ),
    (
        "MindSpore's symbol_utils.h: ForceStopError",
        "aclrtSynchronizeStream failed, ret code: 107022",
        "aborted because of another fault",
        True,
    ),
]


@pytest.mark.parametrize(
    ("text", "said", "again"), [pytest.param(*row[1:], id=row[0]) for row in PUBLIC_LOGS]
)
def test_what_a_public_log_tells_of_a_device_is_said_with_its_verdict(
    attempt: Path, text: str, said: str, again: bool | None
) -> None:
    """`again` is None where memory is short: the machine's error."""
    (attempt / "workers").mkdir()
    log = attempt / "workers" / "worker_1.log"
    log.write_text(f"epoch 3\n{text}\nTraceback (most recent call last):\n")
    leave_failure(attempt, "1", "RuntimeError", time=1.0)
    cause = cause_of("m", attempt, 1, ranks=2)
    assert type(cause) is (MachineError if again is None else JobFailed)
    assert cause.retryable is bool(again)
    assert f"m on rank 1: {said}" in str(cause) or said in str(cause)
    assert ("trying again helps" if again else "trying again will not help") in str(cause)
    assert str(cause).endswith(str(log))
    assert "\n" not in str(cause)
    (attempt / "log.txt").write_text(text)
    assert said in str(cause_of("m", attempt, 1, ranks=1))


def test_every_row_of_the_table_has_a_log() -> None:
    for fault in FAULTS:
        assert any(fault.pattern.search(row[1]) for row in PUBLIC_LOGS), fault.pattern.pattern


def test_a_rank_that_waited_is_not_blamed_for_the_one_that_failed(attempt: Path) -> None:
    (attempt / "workers").mkdir()
    # vllm-project/vllm-ascend#3413
    waited = (
        "EI0002: [PID: 2969] 2025-10-11-15:09:34.713.335 The wait execution of the Notify register "
        "times out. Reason: The Notify register has not received the Notify record from remote "
        "rank: [1]. base information: [streamID:[109]]\n"
    )
    (attempt / "workers" / "worker_0.log").write_text(waited)
    leave_failure(attempt, "0", "RuntimeError", time=1.0)
    cause = cause_of("m", attempt, 1, ranks=2)
    assert "m on rank 0: it waited in vain for rank 1" in str(cause)
    assert str(cause).endswith("worker_1.log")
    failed = attempt / "workers" / "worker_1.log"
    failed.write_text("RuntimeError: ACL stream synchronize failed, error code:507015\n")
    cause = cause_of("m", attempt, 1, ranks=2)
    assert "m on rank 1: an operator failed on the card" in str(cause)
    assert str(cause).endswith("worker_1.log")


def test_a_crash_is_explained_by_the_device_error_before_it_and_not_by_a_peers_waiting(
    attempt: Path,
) -> None:
    (attempt / "log.txt").write_text(WORKER_KILLED.replace("-9", "-6"))
    write_json(attempt / child.process_file("1"), 71)
    (attempt / "workers").mkdir()
    (attempt / "workers" / "worker_0.log").write_text("EI0006: Getting socket times out.\n")
    assert "m on rank 1 crashed with SIGABRT" in str(cause_of("m", attempt, 1, ranks=2))
    log = attempt / "workers" / "worker_1.log"
    log.write_text("terminate called after throwing an instance of 'std::bad_alloc'\n")
    cause = cause_of("m", attempt, 1, ranks=2)
    assert type(cause) is MachineError
    assert "m on rank 1: this machine's memory is used up" in str(cause)


def test_a_rank_that_was_killed_stays_the_cause_though_the_scheduler_missed_it_or_another(
    attempt: Path,
) -> None:
    (attempt / "log.txt").write_text(WORKER_KILLED)
    write_json(attempt / child.process_file("1"), 71)
    (attempt / "workers").mkdir()
    scheduler = attempt / "workers" / "scheduler.log"
    for missed in ("0", "1"):
        scheduler.write_text(f"The node: {missed} is timed out. It may exit with exception\n")
        assert "m on rank 1 was ended by SIGKILL" in str(cause_of("m", attempt, 1, ranks=2))


def test_a_crash_is_not_explained_by_what_other_ranks_log(attempt: Path) -> None:
    (attempt / "log.txt").write_text(WORKER_KILLED.replace("-9", "-11"))
    (attempt / "workers").mkdir()
    (attempt / "workers" / "worker_0.log").write_text("EI0006: Getting socket times out.\n")
    assert "m crashed with SIGSEGV" in str(cause_of("m", attempt, 1, ranks=2))
    write_json(attempt / child.process_file("1"), 71)
    (attempt / "workers" / "worker_0.log").write_text("EZ9999: Inner Error!\n")
    assert "m on rank 1 crashed with SIGSEGV" in str(cause_of("m", attempt, 1, ranks=2))


def test_a_crash_outside_of_python_says_only_the_signal(attempt: Path) -> None:
    (attempt / "log.txt").write_text(
        "Fatal Python error: Segmentation fault\n\n"
        'Thread 0x01 (most recent call first):\n  File "/a/b.py", line 3 in waiting\n'
    )
    cause = cause_of("m", attempt, 139, ranks=1)
    assert "m crashed with SIGSEGV: trying again helps" in str(cause)


def test_numbers_are_codes_only_where_a_line_calls_them_so(attempt: Path) -> None:
    (attempt / "log.txt").write_text("image 507015 of 507018, loss 1.207001, step 107022\n")
    assert "exit code 3" in str(cause_of("m", attempt, 3, ranks=1))


def test_the_last_line_told_is_not_mindspores_chatter(attempt: Path) -> None:
    (attempt / "log.txt").write_text("the reason\n[INFO] DISTRIBUTED(1,2,python): started\n\n")
    assert "last line 'the reason'" in str(cause_of("m", attempt, 3, ranks=1))


def test_a_host_knows_its_own_ranks_by_their_process_ids(attempt: Path) -> None:
    # Another host's rank may have the same one.
    write_json(attempt / child.process_file("0"), 71)
    write_json(attempt / child.process_file("1"), 71)
    host = HostRanks(each=1, hosts=2, host=1)
    host.log(attempt).write_text(WORKER_KILLED)
    cause = cause_of("m", attempt, 1, ranks=2, host=host)
    assert str(cause).startswith("m on rank 1 was ended by SIGKILL")
    # Host 0's own msrun saw nothing fail.
    nothing = cause_of("m", attempt, 1, ranks=2, host=HostRanks(each=1, hosts=2))
    assert "SIGKILL" not in str(nothing)


def test_a_rank_of_another_host_that_the_scheduler_missed_was_cut_off(attempt: Path) -> None:
    write_json(attempt / child.process_file("1"), 71)
    (attempt / "workers").mkdir()
    (attempt / "workers/scheduler.log").write_text("UpdateTopoState] The node: 1 is timed out.\n")
    host = HostRanks(each=1, hosts=2, host=1)
    host.log(attempt).write_text(WORKER_KILLED.replace("-9", "-15"))
    cause = cause_of("m", attempt, 1, ranks=2, host=host)
    assert isinstance(cause, JobFailed)
    expected = "m lost rank 1 of host 1, of which the others heard nothing (it or its network hangs"
    assert str(cause).startswith(expected)
    assert (cause.retryable, cause.of_peer) == (True, True)
