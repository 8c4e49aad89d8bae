from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixnet_core.processes import supervisor
from tests.marked import VARIABLE, assert_nothing_left, marked, wait_until

SUPERVISOR = [sys.executable, "-I", "-S", supervisor.__file__, "--"]
STUBBORN = """
import pathlib, signal, subprocess, sys, time
for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(120)
"""
# Its child is in a session of its own and, once this has ended, nobody's but the supervisor's.
LEAVES_A_CHILD = f"""
import pathlib, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {STUBBORN!r}, sys.argv[1]], start_new_session=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
"""
NOTES_SIGNALS = """
import pathlib, signal, sys, time
def note(signum, frame):
    pathlib.Path(sys.argv[2]).write_text(signal.Signals(signum).name)
    sys.exit(0)
signal.signal(signal.SIGTERM, note)
try:
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(120)
except KeyboardInterrupt:
    pathlib.Path(sys.argv[2]).write_text("SIGINT")
"""


@pytest.fixture
def mark() -> Iterator[str]:
    value = uuid.uuid4().hex
    yield value
    assert_nothing_left(value, seconds=0.5)


def start(mark: str, code: str, *arguments: Path, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*SUPERVISOR, sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        env={**os.environ, VARIABLE: mark},
        **options,  # type: ignore[call-overload]
    )


def close(process: subprocess.Popen[bytes]) -> int:
    """Cuts the lifeline; the exit code."""
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(10)


@pytest.mark.parametrize(
    ("own", "wish"),
    [
        ((), {"reason": "its caller ended"}),
        # Of several hosts: its `mixnet` alone was killed.
        (("--host", "1"), {"reason": "its caller on host 1 ended", "lost": 1}),
    ],
)
def test_what_a_dead_caller_leaves_is_asked_to_save_and_whose_caller_it_was_is_said(
    mark: str, tmp_path: Path, own: tuple[str, ...], wish: dict[str, object]
) -> None:
    request = tmp_path / "stop.json"
    process = subprocess.Popen(
        [*SUPERVISOR[:-1], "--request", request, *own, "--", "sleep", "60"],
        stdin=subprocess.PIPE,
        env={**os.environ, VARIABLE: mark},
    )
    assert close(process) == 130
    assert json.loads(request.read_text()) == wish


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_is_the_commands(mark: str, code: int) -> None:
    with start(mark, f"raise SystemExit({code})") as process:
        assert process.wait(10) == code


def test_a_command_ended_by_a_signal_is_told_as_a_shell_does(mark: str) -> None:
    with start(mark, "import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait(10) == 128 + signal.SIGKILL


def test_cutting_the_lifeline_interrupts_the_command_first(mark: str, tmp_path: Path) -> None:
    with start(mark, NOTES_SIGNALS, tmp_path / "ready", tmp_path / "got") as process:
        wait_until((tmp_path / "ready").exists, "the command runs")
        assert close(process) == 130
    assert (tmp_path / "got").read_text() == "SIGINT"


def test_a_command_whose_caller_ignores_interrupts_is_interrupted_all_the_same(
    mark: str, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start(mark, NOTES_SIGNALS, tmp_path / "ready", tmp_path / "got")
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        wait_until((tmp_path / "ready").exists, "the command runs")
        close(process)
    assert (tmp_path / "got").read_text() == "SIGINT"


def test_a_command_that_ignores_every_signal_it_can_is_gone_in_8_seconds(
    mark: str, tmp_path: Path
) -> None:
    with start(mark, STUBBORN, tmp_path / "ready") as process:
        wait_until((tmp_path / "ready").exists, "the command runs")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(8) == 130
    assert marked(mark) == []


def test_what_the_command_leaves_in_another_session_is_ended_with_it(
    mark: str, tmp_path: Path
) -> None:
    with start(mark, LEAVES_A_CHILD, tmp_path / "ready") as process:
        assert process.wait(10) == 0
    assert (tmp_path / "ready").exists()
    assert marked(mark) == []


def test_a_terminated_supervisor_takes_the_command_along(mark: str, tmp_path: Path) -> None:
    with start(mark, NOTES_SIGNALS, tmp_path / "ready", tmp_path / "got") as process:
        wait_until((tmp_path / "ready").exists, "the command runs")
        process.terminate()
        assert process.wait(8) == 128 + signal.SIGTERM
    assert marked(mark) == []


def test_a_killed_supervisor_takes_the_command_along(mark: str, tmp_path: Path) -> None:
    with start(mark, STUBBORN, tmp_path / "ready") as process:
        wait_until((tmp_path / "ready").exists, "the command runs")
        process.kill()
        process.wait(10)
        assert_nothing_left(mark, seconds=5)


def test_the_callers_death_is_noticed_though_another_process_holds_the_lifeline(
    mark: str, tmp_path: Path
) -> None:
    read, write = os.pipe()
    caller = (
        "import subprocess, sys\n"
        f"process = subprocess.Popen({SUPERVISOR!r} + sys.argv[1:], stdin={read})\n"
        "process.wait()\n"
    )
    command = [sys.executable, "-c", STUBBORN, str(tmp_path / "ready")]
    try:
        with subprocess.Popen(
            [sys.executable, "-c", caller, *command],
            pass_fds=[read],
            env={**os.environ, VARIABLE: mark},
        ) as process:
            wait_until((tmp_path / "ready").exists, "the command runs")
            process.kill()
            process.wait(10)
            assert_nothing_left(mark)
    finally:
        os.close(read)
        os.close(write)


def test_a_stage_that_starts_after_its_supervisors_death_ends_itself() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = (
        "from mixnet_core.processes.child import die_with_parent; die_with_parent(); print('lives')"
    )
    environment = {**os.environ, supervisor.SUPERVISOR_VARIABLE: str(gone.pid)}
    late = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False
    )
    assert late.returncode == -signal.SIGKILL
    assert late.stdout == b""


def test_a_stage_started_by_hand_outlives_the_shell_that_started_it(
    mark: str, tmp_path: Path
) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from mixnet_core.processes.child import die_with_parent\n"
        "die_with_parent()\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.01)\n"
        "pathlib.Path(sys.argv[3]).touch()\n"
    )
    paths = [str(tmp_path / name) for name in ("ready", "go", "end")]
    shell = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}, *{paths!r}])"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", shell],
        env={**os.environ, VARIABLE: mark},
        check=True,
    )
    wait_until((tmp_path / "ready").exists, "the stage runs")
    (tmp_path / "go").touch()
    wait_until((tmp_path / "end").exists, "the stage went on")
    wait_until(lambda: not marked(mark), "the stage ended")
