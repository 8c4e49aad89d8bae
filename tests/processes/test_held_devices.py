from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.processes.held_devices import HeldDevices, devices_held
from mixnet_core.processes.launch import run_job
from tests.marked import VARIABLE, assert_nothing_left, marked, wait_until
from tests.processes.programs import device_user
from tests.processes.programs.acts import Act
from tests.processes.programs.caller import CANCELLED

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The locks' folder, on a host of eight devices."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MIXNET_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("MIXNET_DEVICES", "0,1,2,3,4,5,6,7")
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
    return tmp_path / "locks"


class Waits(BaseException):
    pass


def refuse_to_wait(text: str) -> None:
    if text.startswith("waiting"):
        raise Waits(text)


def free(count: int = 8) -> bool:
    try:
        with devices_held("Ascend", count, "a look", refuse_to_wait):
            return True
    except Waits:
        return False


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


def user(count: int, log: Path, work: str, *what: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.processes.programs.device_user"]
    return subprocess.Popen([*command, str(count), str(log), work, *what], cwd=ROOT)


@pytest.fixture
def mark() -> Iterator[str]:
    value = uuid.uuid4().hex
    yield value
    assert_nothing_left(value)


def test_two_runs_of_four_devices_share_a_host_of_eight() -> None:
    with devices_held("Ascend", 4, "one", refuse_to_wait) as one:
        with devices_held("Ascend", 4, "other", refuse_to_wait) as other:
            assert one.numbers == (0, 1, 2, 3)
            assert other.numbers == (4, 5, 6, 7)
            assert not free(1)
        assert free(4)
    assert free(8)


def test_a_run_of_eight_waits_for_one_of_four_and_says_once_who_holds_them() -> None:
    said: list[str] = []
    got: list[HeldDevices] = []

    def wait() -> None:
        with devices_held("Ascend", 8, "big", said.append) as held:
            got.append(held)

    with devices_held("Ascend", 4, "train of small", refuse_to_wait):
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: bool(said), "it says that it waits")
        # It holds none of the four that are free meanwhile.
        assert free(4)
        assert not got
    waiting.join(30)
    assert got[0].numbers == tuple(range(8))
    assert len(said) == 2
    assert re.fullmatch(
        r"waiting for 8 of Ascend devices 0,1,2,3,4,5,6,7: 0,1,2,3 held by train of small "
        rf"\(pid {os.getpid()}, since 20\S+\)",
        said[0],
    )
    assert said[1] == "on Ascend devices 0,1,2,3,4,5,6,7"


def test_a_wait_may_have_an_end_that_says_who_holds_them() -> None:
    with (
        devices_held("Ascend", 8, "train of small", refuse_to_wait),
        pytest.raises(TransientError, match=r"held by train of small .*: not within 0.1 s"),
        devices_held("Ascend", 1, "check", lambda line: None, wait_seconds=0.1),
    ):
        pass


def test_many_runs_that_begin_at_once_all_come_to_their_turn_and_no_device_is_held_twice(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXNET_DEVICES", "0,1,2,3")
    users = [user(count, log, f"w{n}", "write", "0.2") for n, count in enumerate((4, 3, 2, 4, 2))]
    assert [each.wait(120) for each in users] == [0] * 5
    held: set[str] = set()
    for line in log.read_text().splitlines():
        if found := re.search(r"(takes|leaves) \((.*)\)", line):
            numbers = set(re.findall(r"\d", found[2]))
            if found[1] == "takes":
                assert not held & numbers, log.read_text()
                held |= numbers
            else:
                held -= numbers
    assert not held


def test_devices_are_held_until_the_job_is_gone_even_if_its_caller_is_killed(
    tmp_path: Path, log: Path, mark: str
) -> None:
    caller = user(8, log, "train", "job", str(tmp_path / "attempts"), str(tmp_path), mark)
    wait_until((tmp_path / "ready-0").exists, "the job is ready")
    job = next(p for p in marked(mark) if "tests.processes.programs.acts" in p.cmdline())
    assert job.environ()["ASCEND_RT_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
    supervisor = next(
        p for p in marked(mark) if any(a.endswith("supervisor.py") for a in p.cmdline()[:4])
    )
    # So that the job outlives its caller for as long as it takes to look.
    supervisor.suspend()
    caller.kill()
    caller.wait()
    assert job.is_running()
    assert not free(1)
    supervisor.resume()
    wait_until(free, "the devices are free", seconds=20)
    # Nothing but zombies.
    assert not marked(mark)


def test_what_a_killed_process_noted_holds_nothing(log: Path, folder: Path) -> None:
    holder = user(8, log, "killed", "write", "60")
    wait_until(lambda: "takes" in log.read_text(), "it holds them")
    holder.kill()
    holder.wait()
    assert "killed" in (folder / "Ascend-0").read_text()
    assert free()


def test_a_wait_can_be_cancelled_and_leaves_the_devices_to_others(log: Path) -> None:
    with devices_held("Ascend", 1, "one", refuse_to_wait):
        waiting = user(8, log, "big", "write", "60")
        wait_until(lambda: "waiting for 8" in log.read_text(), "it waits")
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(20) == CANCELLED
        assert free(7)


def test_a_job_sees_the_devices_that_it_got_and_a_users_variable_limits_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "5, 2,6")
    with (
        devices_held("Ascend", 1, "other", refuse_to_wait) as other,
        devices_held("Ascend", 2, "train", refuse_to_wait) as held,
    ):
        assert other.numbers == (2,)
        done = run_job(
            "tests.processes.programs.acts",
            Act(name="return"),
            attempts=tmp_path / "attempts",
            env={VARIABLE: "none", **(held.environment or {})},
            keep_open=held.handles,
        )
        assert done["environment"]["ASCEND_RT_VISIBLE_DEVICES"] == "5,6"
        with pytest.raises(Waits, match=r"1 of Ascend devices 2,5,6: 2 held by other .*5,6 held"):
            free_one()


def free_one() -> None:
    with devices_held("Ascend", 1, "a look", refuse_to_wait):
        pytest.fail("all three are held")


def test_the_devices_are_those_that_the_host_has_files_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIXNET_DEVICES")
    for name in ("davinci1", "davinci0", "davinci10", "davinci_manager", "devmm_svm", "nvidia0"):
        (tmp_path / name).touch()
    with devices_held("Ascend", 3, "train", refuse_to_wait, dev=tmp_path) as held:
        assert held.numbers == (0, 1, 10)
    with devices_held("GPU", 1, "train", refuse_to_wait, dev=tmp_path) as held:
        assert held.environment == {"CUDA_VISIBLE_DEVICES": "0"}


def test_a_container_of_some_devices_holds_the_hosts_and_a_job_counts_them_from_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIXNET_DEVICES")
    for number in range(3, 8):
        (tmp_path / f"davinci{number}").touch()
    with devices_held("Ascend", 2, "on the host", refuse_to_wait, dev=tmp_path) as first:
        assert first.numbers == (3, 4)
        assert first.environment == {"ASCEND_RT_VISIBLE_DEVICES": "0,1"}
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1,2")
        with devices_held("Ascend", 1, "limited", refuse_to_wait, dev=tmp_path) as limited:
            assert limited.numbers == (5,)
            assert limited.environment == {"ASCEND_RT_VISIBLE_DEVICES": "2"}
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "3,4,5")
    with (
        pytest.raises(InputError, match=r"names device 5, and .* has 5: expected .* 0 to 4"),
        devices_held("Ascend", 1, "train", refuse_to_wait, dev=tmp_path),
    ):
        pytest.fail("there is no sixth")


def test_a_cpu_run_holds_nothing(folder: Path) -> None:
    with devices_held("CPU", 64, "train", refuse_to_wait) as held:
        assert held == HeldDevices()
    assert not folder.exists()


@pytest.mark.parametrize("given", ["0-3", "GPU-8f1", "0,,1", "s3://me:secret@host/x"])
def test_a_variable_that_holds_no_numbers_is_refused_in_one_line(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", given)
    with pytest.raises(InputError, match="expected device numbers such as 0,1,2,3") as caught:
        free()
    assert "secret" not in str(caught.value)


def test_more_devices_than_the_host_has_are_refused_at_once() -> None:
    with pytest.raises(MachineError, match="9 Ascend devices are wanted and this host shows 0,1,"):
        free(9)


def test_a_folder_that_cannot_be_used_is_named_with_its_variable(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineError, match="MIXNET_DEVICE_LOCKS names it"):
        free()


def hold_as(user: int, count: int, log: Path, work: str, seconds: float) -> None:
    """Becomes the user, then holds devices for a while; run in a forked process."""
    os.setgid(user)
    os.setuid(user)
    os.umask(0o077)
    raise SystemExit(device_user.main(str(count), str(log), work, "write", str(seconds)))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("first", [0, NOBODY])
def test_users_of_one_host_hold_devices_from_each_other(
    first: int, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(dir="/tmp") as shared:
        Path(shared).chmod(0o1777)
        monkeypatch.setenv("MIXNET_DEVICE_LOCKS", f"{shared}/locks")
        log = Path(shared) / "log"
        log.touch()
        log.chmod(0o666)
        holder = fork.Process(target=hold_as, args=(first, 6, log, "first", 3))
        holder.start()
        wait_until(lambda: "takes" in log.read_text(), "it holds them")
        second = fork.Process(target=hold_as, args=(NOBODY - first, 8, log, "second", 0))
        second.start()
        for process in (holder, second):
            process.join(60)
            assert process.exitcode == 0
        lines = log.read_text()
    waits = "second: waiting for 8 of Ascend devices 0,1,2,3,4,5,6,7"
    assert f"{waits}: 0,1,2,3,4,5 held by first" in lines
    assert lines.index("first: leaves") < lines.index("second: takes")
