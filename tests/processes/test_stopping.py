"""What is asked to save and stop: every rank ends after the same step, or is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import MixnetError, Stopped
from mixnet_core.processes import child, stopping
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.stopping import NOTICE_VARIABLE, StopRequests
from mixnet_core.storage.files import read_json
from tests.marked import VARIABLE, assert_nothing_left, marked, wait_until
from tests.processes.programs.acts import Act
from tests.processes.programs.caller import CANCELLED, GRACE_VARIABLE, SAVED
from tests.processes.test_launch import ACTS, ROOT, ready, when_ready

# Far more than anything here takes that is not to wait for its end.
LONG = 60.0
# A signal that comes sooner after another one belongs to it.
LATER = 0.7


@pytest.fixture(autouse=True)
def stages_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """MindSpore, which other tests import in this process, ends it at Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    # What no Python set reads as None.
    signal.signal(signal.SIGINT, before or signal.default_int_handler)


@pytest.fixture
def mark() -> Iterator[str]:
    """Every process started under it is gone as soon as `run_job` has returned."""
    value = uuid.uuid4().hex
    yield value
    assert_nothing_left(value, seconds=0.0)


@pytest.fixture
def run(tmp_path: Path, mark: str) -> Callable[..., dict[str, Any]]:
    def run(name: str, *, grace: float = LONG, ranks: int = 1, **fields: Any) -> dict[str, Any]:
        act = Act(name=name, folder=str(tmp_path), **fields)
        attempts = tmp_path / "attempts"
        env = {VARIABLE: mark}
        return run_job(ACTS, act, attempts=attempts, ranks=ranks, env=env, grace_seconds=grace)

    return run


def attempt(folder: Path) -> Path:
    return folder / "attempts" / "attempt-001"


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def last_steps(folder: Path, ranks: int) -> set[str]:
    return {(folder / f"saved-{rank}").read_text() for rank in range(ranks)}


@pytest.mark.parametrize("ranks", [1, 2])
def test_an_interrupted_job_saves_and_all_of_its_ranks_end_after_the_same_step(
    run: Callable[..., dict[str, Any]], tmp_path: Path, ranks: int
) -> None:
    thread = when_ready(tmp_path, ranks, interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as caught:
        run("save", ranks=ranks)
    thread.join()
    assert time.monotonic() - began < LONG
    (step,) = last_steps(tmp_path, ranks)
    stopped = caught.value.__cause__
    assert isinstance(stopped, Stopped)
    assert str(stopped) == (
        f"stopped on request (Ctrl-C) after step {step}, checkpoint kept in {tmp_path}: the same "
        "command goes on from there"
    )
    assert (stopped.exit_code, stopped.retryable) == (75, False)


def test_what_has_done_no_step_yet_is_ended_at_once(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    thread = when_ready(tmp_path, 1, interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as caught:
        run("wait")
    thread.join()
    assert caught.value.__cause__ is None
    assert time.monotonic() - began < LONG / 2


def test_what_takes_no_step_any_more_is_ended_when_its_grace_is_over(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    thread = when_ready(tmp_path, 1, interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as caught:
        run("deaf", grace=1.5)
    thread.join()
    assert caught.value.__cause__ is None
    assert 1.5 < time.monotonic() - began < LONG / 2


def test_a_second_interrupt_ends_it_at_once(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    def twice() -> None:
        interrupt()
        wait_until((attempt(tmp_path) / stopping.REQUEST).exists, "it is asked")
        time.sleep(LATER)
        interrupt()

    thread = when_ready(tmp_path, 1, twice)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run("deaf")
    thread.join()
    assert time.monotonic() - began < LONG / 2


def test_without_a_grace_an_interrupt_ends_it_at_once(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    thread = when_ready(tmp_path, 1, interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        run("save", grace=0.0)
    thread.join()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_cancelled_caller_gets_its_own_exception_back_once_the_job_has_saved(
    tmp_path: Path, mark: str, ranks: int
) -> None:
    with caller(tmp_path, mark, ranks, "save") as process:
        wait_until(ready(tmp_path, ranks), "every rank is ready")
        process.terminate()
        assert process.wait(LONG) == SAVED
        assert marked(mark) == []
    assert len(last_steps(tmp_path, ranks)) == 1


def test_a_second_signal_to_the_caller_ends_the_job_at_once(tmp_path: Path, mark: str) -> None:
    with caller(tmp_path, mark, 1, "deaf") as process:
        wait_until(ready(tmp_path, 1), "the rank is ready")
        process.terminate()
        wait_until((attempt(tmp_path) / stopping.REQUEST).exists, "it is asked")
        time.sleep(LATER)
        process.terminate()
        assert process.wait(LONG / 2) == CANCELLED
        assert marked(mark) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_wish_that_comes_as_two_signals_is_one(
    tmp_path: Path, mark: str, signum: signal.Signals
) -> None:
    with caller(tmp_path, mark, 1, "save") as process:
        wait_until(ready(tmp_path, 1), "the rank is ready")
        # As timeout(1), and a terminal that closes: first the kernel's, then the shell's.
        for _ in range(3):
            process.send_signal(signum)
            time.sleep(0.03)
        assert process.wait(LONG) == SAVED


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_job_of_a_killed_caller_saves_too(tmp_path: Path, mark: str, ranks: int) -> None:
    with caller(tmp_path, mark, ranks, "save") as process:
        wait_until(ready(tmp_path, ranks), "every rank is ready")
        process.kill()
        process.wait()
        wait_until(lambda: not marked(mark), "all has ended", seconds=LONG / 2)
    (step,) = last_steps(tmp_path, ranks)
    message = stopping.answer(attempt(tmp_path))
    assert message is not None
    assert message.startswith(f"stopped on request (its caller ended) after step {step},")


@pytest.mark.parametrize("name", ["stay", "deaf"])
def test_the_job_of_a_caller_that_is_killed_while_it_waits_ends_all_the_same(
    tmp_path: Path, mark: str, name: str
) -> None:
    with caller(tmp_path, mark, 1, name, grace=2.0) as process:
        wait_until(ready(tmp_path, 1), "the rank is ready")
        process.terminate()
        time.sleep(0.3)
        process.kill()
        process.wait()
        wait_until(lambda: not marked(mark), "all has ended", seconds=LONG / 2)


@pytest.mark.parametrize("ranks", [1, 2])
def test_who_is_not_the_caller_may_ask_too_and_the_caller_is_told_as_an_error(
    run: Callable[..., dict[str, Any]], tmp_path: Path, ranks: int
) -> None:
    thread = when_ready(tmp_path, ranks, lambda: asked(tmp_path))
    with pytest.raises(Stopped, match=r"^stopped on request \(mixnet drain\) after step") as caught:
        run("save", ranks=ranks)
    thread.join()
    assert not caught.value.retryable
    assert len(last_steps(tmp_path, ranks)) == 1


def test_who_asks_a_job_that_saves_nothing_is_told_what_is_kept(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    thread = when_ready(tmp_path, 1, lambda: asked(tmp_path))
    message = r"\(mixnet drain\) before this .* within devices\.grace_seconds: earlier checkpoin"
    with pytest.raises(Stopped, match=message):
        run("deaf", grace=1.0)
    thread.join()


def test_a_rank_that_is_killed_while_it_is_asked_is_not_to_be_tried_again(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """As by a service manager that signals every process."""

    def ask_and_kill() -> None:
        asked(tmp_path)
        os.kill(read_json(attempt(tmp_path) / child.process_file("0")), signal.SIGTERM)

    thread = when_ready(tmp_path, 1, ask_and_kill)
    with pytest.raises(MixnetError, match=r"\(mixnet drain\) before this .* by SIGTERM") as caught:
        run("deaf")
    thread.join()
    assert isinstance(caught.value, Stopped)
    assert not caught.value.retryable


def test_the_notice_that_the_machine_will_go_stops_it_and_it_may_be_tried_again(
    run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTICE_VARIABLE, str(tmp_path / "preempted"))
    thread = when_ready(tmp_path, 1, (tmp_path / "preempted").touch)
    with pytest.raises(Stopped, match=r"\(this machine's notice\) after step") as caught:
        run("save")
    thread.join()
    assert caught.value.retryable
    began = time.monotonic()
    with pytest.raises(Stopped, match=r"\(this machine's notice\) before this") as again:
        run("stay")
    assert again.value.retryable
    assert time.monotonic() - began < LONG / 2


def test_looking_for_a_request_takes_microseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(child.ATTEMPT_VARIABLE, raising=False)
    assert not StopRequests(0, 1, "CPU").end_after(1)
    monkeypatch.setenv(child.ATTEMPT_VARIABLE, str(tmp_path))
    requests = StopRequests(0, 1, "CPU")
    requests.end_after(1)
    began = time.perf_counter()
    for step in range(2, 1002):
        assert not requests.end_after(step)
    # Two or three on an idle machine.
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(("target", "ahead"), [("CPU", 1), ("Ascend", 3)])
def test_ranks_that_run_ahead_of_each_other_agree_on_a_step_that_none_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, ahead: int
) -> None:
    monkeypatch.setenv(child.ATTEMPT_VARIABLE, str(tmp_path))
    first, second = StopRequests(0, 2, target), StopRequests(1, 2, target)
    assert not first.end_after(7)
    assert not second.end_after(7)
    assert stopping.ask(tmp_path, "a test")
    # The rank ahead goes on as far as the device lets it, without looking at the request.
    ends = [second.end_after(step) for step in range(8, 8 + ahead - 1)]
    assert not any(ends)
    assert not first.end_after(7)
    assert [second.end_after(7 + ahead)] == [True]
    assert [first.end_after(step) for step in range(8, 8 + ahead)] == [False] * (ahead - 1) + [True]


def test_a_wish_that_training_ends_replaces_one_that_it_goes_on(tmp_path: Path) -> None:
    newest = attempt(tmp_path)
    newest.mkdir(parents=True)
    said = []
    for reason, goes_on in [("back", True), ("drain", False), ("again", True), ("SIGTERM", False)]:
        stopping.ask(newest, reason, goes_on=goes_on)
        request = stopping.requested(newest)
        assert request is not None
        said.append((request.reason, request.goes_on))
    assert said == [("back", True), *[("drain", False)] * 3]


def test_between_two_attempts_a_wish_that_training_goes_on_is_none_to_stop(tmp_path: Path) -> None:
    newest = attempt(tmp_path)
    newest.mkdir(parents=True)
    stopping.ask(newest, "back", goes_on=True)
    stopping.wait(newest.parent, 0.1)
    stopping.ask(newest, "mixnet drain")
    with pytest.raises(Stopped):
        stopping.wait(newest.parent, 0.1)


def asked(folder: Path) -> None:
    assert stopping.ask(attempt(folder), "mixnet drain")


@contextmanager
def caller(
    folder: Path, mark: str, ranks: int, act: str, grace: float = LONG
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls `run_job` as a flow does."""
    arguments = [str(folder / "attempts"), str(folder), mark, str(ranks), "cancelled", act]
    command = [sys.executable, "-m", "tests.processes.programs.caller", *arguments]
    environment = {**os.environ, GRACE_VARIABLE: str(grace)}
    with subprocess.Popen(command, start_new_session=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()
