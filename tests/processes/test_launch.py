from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixnet_core.errors import DatasetError, JobFailed, MachineError, MixnetError, TransientError
from mixnet_core.processes import child
from mixnet_core.processes.launch import HostRanks, Patience, held_port, join_job, run_job
from mixnet_core.storage.asides import hold_aside
from mixnet_core.storage.files import read_json, write_json
from tests.marked import VARIABLE, assert_nothing_left, marked, wait_until
from tests.processes.programs.acts import Act
from tests.processes.programs.caller import CANCELLED

ACTS = "tests.processes.programs.acts"
ALL_REDUCE = "tests.processes.programs.all_reduce"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def stages_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def mark() -> Iterator[str]:
    """Every process started under it is gone as soon as `run_job` has returned."""
    value = uuid.uuid4().hex
    yield value
    assert_nothing_left(value, seconds=0.0)


@pytest.fixture
def run(tmp_path: Path, mark: str) -> Callable[..., dict[str, Any]]:
    def run(name: str, *, module: str = ACTS, **options: Any) -> dict[str, Any]:
        fields = set(Act.model_fields) & set(options)
        request = Act(
            name=name, folder=str(tmp_path), **{field: options.pop(field) for field in fields}
        )
        env = {VARIABLE: mark, **options.pop("env", {})}
        return run_job(module, request, attempts=tmp_path / "attempts", env=env, **options)

    return run


def ready(folder: Path, ranks: int) -> Callable[[], bool]:
    return lambda: all((folder / f"ready-{rank}").exists() for rank in range(ranks))


def supervisor_of(processes: list[psutil.Process]) -> psutil.Process:
    return next(p for p in processes if any(a.endswith("supervisor.py") for a in p.cmdline()[:4]))


def msrun_of(processes: list[psutil.Process]) -> psutil.Process:
    return next(p for p in processes if any(a.endswith("/msrun") for a in p.cmdline()[:2]))


def worker_of(processes: list[psutil.Process]) -> psutil.Process:
    """Rank 1 itself, not what it started."""
    return next(
        process
        for process in processes
        if process.environ().get("MS_ROLE") == "MS_WORKER"
        and process.environ()["RANK_ID"] == "1"
        and ACTS in process.cmdline()
    )


def when_ready(folder: Path, ranks: int, then: Callable[[], None]) -> threading.Thread:
    """Runs `then` beside a `run_job` that holds the main thread, as a kill from outside does."""

    def watch() -> None:
        wait_until(ready(folder, ranks), "every rank is ready")
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("counts_alone", [False, True])
def test_another_hosts_rank_that_fails_after_rank_0s_result_counts_where_its_work_is_its_own(
    counts_alone: bool, mark: str, tmp_path: Path
) -> None:
    write_json(tmp_path / child.REQUEST, Act(name="exit", folder=str(tmp_path)).model_dump())
    write_json(tmp_path / child.RESULT, {"rank": "0"})
    here = HostRanks(each=1, hosts=2, host=1, among=(1,))
    fails = pytest.raises(JobFailed) if counts_alone else nullcontext()
    with fails:
        join_job(ACTS, tmp_path, here, env={VARIABLE: mark}, counts_alone=counts_alone)


def test_a_stage_of_one_rank_returns_its_result_and_leaves_its_attempt(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    result = run("return", threads=3)
    assert result["rank"] == "0"
    assert result["environment"]["OMP_NUM_THREADS"] == "3"
    assert result["environment"]["OMP_WAIT_POLICY"] == "PASSIVE"
    attempt = tmp_path / "attempts" / "attempt-001"
    assert {path.name for path in attempt.iterdir()} == {
        "request.json",
        "result.json",
        "process-0.json",
        "log.txt",
    }


def test_ranks_left_in_the_callers_environment_do_not_reach_the_stage(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK_ID", "5")
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    monkeypatch.setenv("GLOG_v", "1")
    environment = run("return", env={"OMP_NUM_THREADS": "7"})["environment"]
    assert "RANK_ID" not in environment
    assert environment["OMP_NUM_THREADS"] == "7"
    assert environment["GLOG_v"] == "1"


def test_msrun_runs_a_worker_a_rank_and_rank_0_writes_the_result(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    result = run("return", ranks=2)
    assert result["rank"] == "0"
    assert result["environment"]["MS_ROLE"] == "MS_WORKER"
    cores = len(os.sched_getaffinity(0))
    assert result["environment"]["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert result["environment"]["PATH"].startswith(str(Path(sys.executable).parent))
    workers = tmp_path / "attempts" / "attempt-001" / "workers"
    assert {path.name for path in workers.iterdir()} == {
        "scheduler.log",
        "worker_0.log",
        "worker_1.log",
    }


@pytest.mark.slow
def test_two_ranks_join_through_mindspore_and_sum_their_numbers(
    run: Callable[..., dict[str, Any]],
) -> None:
    assert run("return", module=ALL_REDUCE, ranks=2) == {"total": 3.0, "ranks": 2}


@pytest.mark.slow
def test_a_killed_rank_ends_the_joined_ranks_without_waiting_for_mindspores_scheduler(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match="on rank 1 was ended by SIGKILL") as caught:
        run("die", module=ALL_REDUCE, ranks=2, rank=1)
    assert caught.value.retryable
    # It writes this file when it notices by itself, 30 s later.
    assert not (tmp_path / "attempts" / "attempt-001" / child.failure_file("scheduler")).exists()


@pytest.mark.faults
def test_a_stopped_rank_that_mindspore_misses_first_is_blamed_and_not_the_one_it_ends(
    run: Callable[..., dict[str, Any]],
) -> None:
    """Its scheduler waits 30 s for a heartbeat, then ends the other ranks by SIGTERM."""
    message = r"lost rank 1, of which the others heard nothing \(it was stopped \(SIGSTOP\)\)"
    with pytest.raises(JobFailed, match=message) as caught:
        run("stop", module=ALL_REDUCE, ranks=2, rank=1)
    assert caught.value.retryable
    assert str(caught.value).endswith("worker_1.log")


@pytest.mark.parametrize(
    ("kind", "retryable"), [(DatasetError, False), (TransientError, True), (MachineError, False)]
)
def test_a_stages_error_is_raised_again_as_its_type(
    run: Callable[..., dict[str, Any]], kind: type[MixnetError], retryable: bool
) -> None:
    with pytest.raises(kind, match=rf"^{kind.__name__} of rank 0: do this$") as caught:
        run("raise", error=kind.__name__)
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable


def test_an_error_of_one_rank_is_raised_though_msrun_killed_the_others(
    run: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(DatasetError, match=r"^DatasetError of rank 1: do this$"):
        run("raise", error="DatasetError", ranks=2, rank=1)


def test_a_stage_failure_keeps_its_own_verdict_on_retrying(
    run: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(JobFailed, match=r"^the loss is not finite") as caught:
        run("diverge")
    assert not caught.value.retryable


def test_running_out_of_memory_in_python_is_the_machines_error(
    run: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(MachineError, match=r"out of memory .*devices\.micro_batch.* will not help"):
        run("exhaust", megabytes=4096)


def test_an_unforeseen_exception_is_told_in_one_line_with_the_place_of_its_traceback(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match=r"raised ValueError on rank 0: unforeseen") as caught:
        run("fail")
    assert not caught.value.retryable
    assert "\n" not in str(caught.value)
    log = tmp_path / "attempts" / "attempt-001" / "log.txt"
    assert str(log) in str(caught.value)
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_ended_from_outside_may_be_run_again_and_the_signal_is_named(
    run: Callable[..., dict[str, Any]], signum: signal.Signals, ranks: int
) -> None:
    who = "on rank 1 was" if ranks == 2 else "acts was"
    with pytest.raises(JobFailed, match=f"{who} ended by {signum.name}, from outside") as caught:
        run("die", signum=int(signum), ranks=ranks, rank=ranks - 1)
    assert caught.value.retryable
    assert "trying again helps; its log is " in str(caught.value)
    assert "out-of-memory" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "signum", "place"),
    [
        ("segfault", signal.SIGSEGV, r"in memset|in _crash_in_native_code \(acts\.py:\d+\)"),
        ("abort", signal.SIGABRT, r"in act \(acts\.py:\d+\)"),
    ],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_crash_in_native_code_names_the_python_line_that_called_it(
    run: Callable[..., dict[str, Any]],
    tmp_path: Path,
    name: str,
    signum: signal.Signals,
    place: str,
    ranks: int,
) -> None:
    with pytest.raises(JobFailed, match=f"crashed with {signum.name}, ({place})") as caught:
        run(name, ranks=ranks, rank=ranks - 1)
    assert caught.value.retryable
    log = Path(str(caught.value).rpartition(" ")[2])
    assert log.name == ("log.txt" if ranks == 1 else "worker_1.log")
    assert "Fatal Python error" in log.read_text()


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A memory cgroup of 1 GB below this process's own."""
    memory, unified = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = {controllers: path.lstrip("/") for _, controllers, path in lines}
    first = "memory" in own
    group = (memory / own["memory"] if first else unified / own.get("", "")) / uuid.uuid4().hex
    limit = group / ("memory.limit_in_bytes" if first else "memory.max")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        try:
            limit.write_text(str(1 << 30))
        except OSError as error:
            pytest.skip(f"no memory cgroup can be limited here: {error}")
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the cgroup is empty")
        group.rmdir()


@pytest.mark.parametrize(("ranks", "kernel_log"), [(1, "/nowhere"), (2, "/dev/kmsg")])
def test_what_the_kernel_kills_for_want_of_memory_is_told_from_other_kills(
    small_cgroup: Path, tmp_path: Path, mark: str, ranks: int, kernel_log: str
) -> None:
    """All of it in the cgroup, as in a container whose limit is too low."""
    code = (
        "import os, pathlib\n"
        "from mixnet_core.errors import JobFailed\n"
        "from mixnet_core.processes import oom_kills\n"
        "from mixnet_core.processes.launch import run_job\n"
        "from tests.processes.programs.acts import Act\n"
        f"pathlib.Path({str(small_cgroup / 'cgroup.procs')!r}).write_text(str(os.getpid()))\n"
        f"oom_kills._KERNEL_LOG = pathlib.Path({kernel_log!r})\n"
        f"folder, ranks = pathlib.Path({str(tmp_path)!r}), {ranks}\n"
        "act = Act(name='grow', folder=str(folder), megabytes=2048, rank=ranks - 1)\n"
        "try:\n"
        f"    run_job({ACTS!r}, act, attempts=folder / 'attempts', ranks=ranks)\n"
        "except JobFailed as error:\n"
        "    print(error.retryable, error)\n"
    )
    environment = {**os.environ, VARIABLE: mark}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    where = " on rank 1" if ranks == 2 else ""
    assert f"True {ACTS}{where} was ended by the kernel's out-of-memory killer" in done.stdout, (
        done.stdout + done.stderr
    )
    assert "devices.micro_batch" in done.stdout


STRICT = Patience(first_seconds=60.0, stall_seconds=1.5)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_rank_that_hangs_is_noticed_ended_and_leaves_its_python_stack(
    run: Callable[..., dict[str, Any]], tmp_path: Path, mark: str, ranks: int
) -> None:
    thread = when_ready(tmp_path, ranks, (tmp_path / "hang").touch)
    with pytest.raises(JobFailed, match=r"made no progress for 1\.5 s") as caught:
        run("beat", ranks=ranks, rank=ranks - 1, patience=STRICT)
    thread.join()
    assert marked(mark) == []
    assert caught.value.retryable
    assert "trying again helps" in str(caught.value)
    log = Path(str(caught.value).rpartition(" ")[2])
    assert log.name == ("log.txt" if ranks == 1 else "worker_1.log")
    assert re.search(r"acts\.py\", line \d+ in _hang\n", log.read_text())


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_stopped_rank_is_named_and_gone_afterwards(
    run: Callable[..., dict[str, Any]], tmp_path: Path, mark: str, ranks: int
) -> None:
    def stop() -> None:
        rank = ranks - 1
        pid = read_json(tmp_path / "attempts" / "attempt-001" / child.process_file(str(rank)))
        os.kill(pid, signal.SIGSTOP)

    thread = when_ready(tmp_path, ranks, stop)
    message = rf"no progress for 1\.5 s \(rank {ranks - 1} is stopped \(SIGSTOP\)\)"
    with pytest.raises(JobFailed, match=message):
        run("beat", ranks=ranks, patience=STRICT)
    thread.join()
    assert marked(mark) == []


def test_a_stage_that_never_takes_a_step_is_ended_after_the_longer_time(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    patience = Patience(first_seconds=2.0, stall_seconds=0.5)
    with pytest.raises(JobFailed, match=r"no first step within 2 s \(it is running but silent\)"):
        run("stay", patience=patience)


def test_what_a_killed_job_was_writing_into_its_attempt_is_removed(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    attempt = tmp_path / "attempts" / "attempt-001"

    def leave_and_kill() -> None:
        os.close(hold_aside(attempt).handle)
        os.kill(read_json(attempt / child.process_file("0")), signal.SIGKILL)

    thread = when_ready(tmp_path, 1, leave_and_kill)
    with pytest.raises(JobFailed, match="SIGKILL"):
        run("wait")
    thread.join()
    assert attempt.is_dir()
    assert list(attempt.glob(".aside-*")) == []


def test_a_stage_that_hangs_at_its_exit_has_done_its_work(
    run: Callable[..., dict[str, Any]],
) -> None:
    assert run("linger", patience=STRICT)["rank"] == "0"


def test_that_the_scheduler_then_misses_a_rank_changes_nothing(
    run: Callable[..., dict[str, Any]],
) -> None:
    """As of another host's rank, which crashed at its exit: MindSpore's scheduler fails then."""

    def miss(attempt: Path) -> None:
        if (attempt / child.RESULT).exists():
            failure = {"type": "RuntimeError", "message": "timed out", "expected": False}
            write_json(attempt / child.failure_file(child.SCHEDULER), failure)

    assert run("linger", patience=STRICT, on_look=miss)["rank"] == "0"


@pytest.mark.parametrize(("ranks", "rank"), [(1, 0), (2, 1)])
def test_a_stage_that_crashes_at_its_exit_has_done_its_work(
    run: Callable[..., dict[str, Any]],
    ranks: int,
    rank: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also the one of two ranks that ends first: the other still has the result to write."""
    assert run("unload", ranks=ranks, rank=rank)["rank"] == "0"
    assert "after its result was written" in caplog.text


def test_signs_of_life_keep_a_stage_going_and_one_rank_may_end_before_the_other(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    def end_later() -> None:
        time.sleep(1.0)
        (tmp_path / "end").touch()

    thread = when_ready(tmp_path, 2, end_later)
    patience = Patience(first_seconds=60.0, stall_seconds=0.8)
    assert run("beat", ranks=2, patience=patience)["rank"] == "0"
    thread.join()


def test_a_sign_of_life_costs_microseconds_and_nothing_outside_of_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(child.ATTEMPT_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    child.beat()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(child.ATTEMPT_VARIABLE, str(tmp_path / "gone"))
    child.beat()
    monkeypatch.setenv(child.ATTEMPT_VARIABLE, str(tmp_path))
    began = time.perf_counter()
    for _ in range(1000):
        child.beat()
    assert time.perf_counter() - began < 1.0
    (alive,) = tmp_path.iterdir()
    assert alive.name == child.alive_file("0")
    assert alive.stat().st_mtime > child.FIRST_BEAT
    alive.unlink()
    child.beat()
    assert alive.stat().st_mtime == child.FIRST_BEAT


def test_an_exit_without_a_reason_is_told_by_code_rank_and_last_line(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match="exit code 9, last line 'last words'") as caught:
        run("exit")
    assert not caught.value.retryable
    with pytest.raises(JobFailed, match="on rank 1 ended with exit code 9, last line 'last wo"):
        run("exit", ranks=2, rank=1)


def test_a_good_exit_without_a_result_is_a_failure(run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(JobFailed, match=r"left no result\.json") as caught:
        run("return", module="tests.processes.programs.no_result")
    assert not caught.value.retryable


def test_a_module_that_is_not_there_is_a_failure_that_names_it(
    run: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(JobFailed, match=r"No module named tests.processes.programs.absent"):
        run("return", module="tests.processes.programs.absent")


def test_an_attempts_folder_that_cannot_be_made_is_the_machines_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="a part of the path is a file"):
        run_job(ACTS, Act(name="return"), attempts=tmp_path / "file" / "attempts")


def test_rows_are_reported_while_the_stage_runs_and_kept_ones_are_not(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"number": -2}\n{"number": -1}\n')
    seen = []

    def on_progress(row: dict[str, Any]) -> None:
        seen.append(row["number"])
        (tmp_path / f"seen-{row['number']}").touch()

    run("report", progress=rows, on_progress=on_progress)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError])
def test_what_on_progress_raises_comes_through_and_nothing_runs_on(
    run: Callable[..., dict[str, Any]], tmp_path: Path, raised: type[BaseException]
) -> None:
    def on_progress(row: dict[str, Any]) -> None:
        raise raised

    rows = tmp_path / "rows.jsonl"
    rows.touch()
    with pytest.raises(raised):
        run("report", progress=rows, on_progress=on_progress)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_cancel_raised_in_the_callers_thread_leaves_nothing(
    tmp_path: Path, mark: str, ranks: int
) -> None:
    # In a process without MindSpore and its threads, as a flow's is.
    arguments = [str(tmp_path / "attempts"), str(tmp_path), mark, str(ranks), "cancelled"]
    command = [sys.executable, "-m", "tests.processes.programs.caller", *arguments]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            wait_until(ready(tmp_path, ranks), "every rank is ready")
            process.terminate()
            assert process.wait(30) == CANCELLED
            # Nothing is left when the call has returned, not some time later.
            assert marked(mark) == []
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("victim", "ranks", "message"),
    [
        (supervisor_of, 1, "ended by SIGKILL"),
        (supervisor_of, 2, "ended by SIGKILL"),
        (msrun_of, 2, "ended by SIGKILL"),
        (worker_of, 2, "on rank 1 was ended by SIGKILL"),
    ],
)
def test_a_sigkill_of_any_one_process_leaves_nothing_of_the_others(
    run: Callable[..., dict[str, Any]],
    tmp_path: Path,
    mark: str,
    victim: Callable[[list[psutil.Process]], psutil.Process],
    ranks: int,
    message: str,
) -> None:
    thread = when_ready(tmp_path, ranks, lambda: victim(marked(mark)).kill())
    with pytest.raises(JobFailed, match=message) as caught:
        run("stay", ranks=ranks)
    assert caught.value.retryable
    assert marked(mark) == []
    thread.join()


def test_a_kept_descriptor_is_held_by_the_supervisor_and_not_by_the_stage(
    run: Callable[..., dict[str, Any]], tmp_path: Path, mark: str
) -> None:
    read, write = os.pipe()
    kept = os.fstat(write).st_ino
    holders = []

    def look_and_kill() -> None:
        supervisor = supervisor_of(marked(mark))
        for process in marked(mark):
            open_there = Path(f"/proc/{process.pid}/fd").iterdir()
            if any(path.stat().st_ino == kept for path in open_there if path.exists()):
                holders.append(process.pid == supervisor.pid)
        supervisor.kill()

    thread = when_ready(tmp_path, 1, look_and_kill)
    try:
        with pytest.raises(JobFailed):
            run("stay", keep_open=(write,))
    finally:
        os.close(read)
        os.close(write)
        thread.join()
    assert holders == [True]


@pytest.fixture
def caller(tmp_path: Path, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    """A caller in its own process group, with two ranks that have stubborn children."""
    command = [sys.executable, "-m", "tests.processes.programs.caller"]
    with subprocess.Popen(
        [*command, str(tmp_path / "attempts"), str(tmp_path), mark, "2"],
        start_new_session=True,
    ) as process:
        try:
            wait_until(ready(tmp_path, 2), "every rank is ready")
            yield process
        finally:
            process.kill()


def test_a_sigkill_of_the_callers_process_group_leaves_nothing(
    caller: subprocess.Popen[bytes], mark: str
) -> None:
    os.killpg(caller.pid, signal.SIGKILL)
    caller.wait()
    assert_nothing_left(mark)


def test_a_terminated_caller_that_handles_nothing_leaves_nothing(
    caller: subprocess.Popen[bytes], mark: str
) -> None:
    caller.terminate()
    caller.wait()
    assert_nothing_left(mark)


def test_workers_end_even_if_caller_and_supervisor_are_killed_at_once(
    caller: subprocess.Popen[bytes], mark: str
) -> None:
    processes = marked(mark)
    supervisor = supervisor_of(processes)
    stages = [process for process in processes if ACTS in process.cmdline()]
    assert len(stages) >= 4
    # Stopped first, so that it cannot act on the caller's death before its own.
    supervisor.suspend()
    caller.kill()
    supervisor.kill()
    caller.wait()
    _, alive = psutil.wait_procs(stages, timeout=10)
    try:
        assert alive == []
    finally:
        # The stages' own children, which only the supervisor or a living caller ends.
        for process in marked(mark):
            process.kill()
        wait_until(lambda: not marked(mark), "the rest was ended by this test")


def test_a_held_port_is_refused_to_others_while_the_scheduler_can_listen_on_it() -> None:
    with held_port() as port, held_port() as other:
        assert port != other
        with socket.socket() as stranger, pytest.raises(OSError):
            stranger.bind(("127.0.0.1", port))
        with socket.socket() as scheduler:
            scheduler.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            scheduler.bind(("127.0.0.1", port))
            scheduler.listen()


def test_a_port_that_is_given_and_in_use_is_named_before_the_ranks_begin(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ranks = HostRanks(each=1, hosts=2, port=port)
        with pytest.raises(TransientError, match=rf"cannot listen on port {port} of 127.0.0.1"):
            run_job(ACTS, Act(name="return"), attempts=tmp_path, ranks=ranks)
    away = HostRanks(each=1, hosts=2, address="192.0.2.1")
    with pytest.raises(TransientError, match=r"cannot listen on 192.0.2.1 \(Cannot assign"):
        run_job(ACTS, Act(name="return"), attempts=tmp_path, ranks=away)


def test_concurrent_calls_share_neither_folder_nor_port(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(run, "return", ranks=2) for _ in range(2)]
        environments = [call.result()["environment"] for call in calls]
    assert len({environment["MS_SCHED_PORT"] for environment in environments}) == 2
    assert {environment["MIXNET_ATTEMPT"] for environment in environments} == {
        str(tmp_path / "attempts" / "attempt-001"),
        str(tmp_path / "attempts" / "attempt-002"),
    }
