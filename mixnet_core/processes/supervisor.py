"""Runs one command and leaves nothing of it behind: `python supervisor.py [OPTIONS] -- COMMAND...`.

Why a process of its own: msrun gives every worker its own session, so no process-group kill reaches
them, and a caller that is SIGKILLed cannot clean up. This process adopts every orphan below it
(PR_SET_CHILD_SUBREAPER) and watches its standard input, a pipe that only the caller holds: end of
file means that the caller is gone, or wants the command stopped.

    stop       SIGINT to the command, then SIGTERM, then SIGKILL to every descendant; gone in 8 s
    when       end of file, the caller's death, SIGTERM, SIGINT or SIGHUP
    also       SIGTERM, then SIGKILL, to what the command leaves when it ends by itself
    exit code  the command's; 128 + n if signal n ended it or this process; 130 at end of file

A command that can save what it did is asked first: FILE --request is written, and the command has
--grace SECONDS to end by itself. That is so when the caller died; when it ends this on purpose it
writes STOP before it closes the pipe, and no time is given. Others may write the request too.

    --request FILE   what asks; the caller, `mixnet drain` or this process writes it
    --heeded FILE    is there once the command looks for requests: before, it has nothing to save
    --answered FILE  is there once the command has answered: then it has a second to end
    --notice FILE    a request to whatever runs on this machine, as of an agent that knows that the
                     machine will be taken away
    --host NUMBER    of several hosts, one that does not lead: its caller's death is a host's that
                     is lost, and the others go on once it is back

If this process itself is SIGKILLed, the kernel kills the command, and a job kills itself: see
`die_with_parent`. A job's own children, which neither covers, `processes.launch` finds by an
environment variable.

Standard library only, and no import of this project's: it must start in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

# In the environment of everything below a supervisor: its process id.
SUPERVISOR_VARIABLE = "MIXNET_SUPERVISOR"

# What a caller writes before it closes the pipe, to have the command stopped at once.
STOP = b"s"
STOPPED_BY_ITS_CALLER = 130

_Steps = Sequence[tuple[signal.Signals, float]]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STOP: _Steps = ((signal.SIGINT, 2.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 3.0))
_SWEEP: _Steps = _STOP[1:]
_POLL_SECONDS = 0.05
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_AFTER_AN_ANSWER = 1.0


def die_with_parent() -> None:
    """Asks the kernel to SIGKILL this process when its parent dies; nothing without a supervisor.

    The setting does not survive a fork, so msrun's workers ask for themselves. The supervisor may
    have died before the call, while MindSpore was imported: then this process ends here.
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if int(supervisor) not in _ancestors():
        os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Sequence[str]) -> int:
    """Supervises the command after `--`; returns the exit code as the module's header says.

    Args:
        argv: without the program's own name.
    """
    own, command = list(argv[: argv.index("--")]), list(argv[argv.index("--") + 1 :])
    saving = _Saving(dict(zip(own[::2], own[1::2], strict=True)))
    caller = os.getppid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake, received = _catch_signals()
    os.environ[SUPERVISOR_VARIABLE] = str(os.getpid())
    process = subprocess.Popen(
        command,
        # Not the lifeline: what reads it would take bytes and the end of file from this process.
        stdin=subprocess.DEVNULL,
        preexec_fn=_before_command,
    )
    tree = _Tree(process.pid)
    watched = [0, wake]
    steps, orphaned = _SWEEP, False
    while tree.reap() and tree.status is None:
        ready, _, _ = select.select(watched, [], [], saving.pause)
        if wake in ready:
            os.read(wake, 4096)
        said = os.read(0, 4096) if 0 in ready else None
        if said == b"":
            watched.remove(0)
        # A process that the caller forked may hold the pipe open after the caller's death.
        orphaned = orphaned or said == b"" or os.getppid() != caller
        if received or STOP in (said or b"") or not saving.may_run_on(orphaned=orphaned):
            steps = _STOP
            break
    tree.stop(steps)
    process.returncode = 0  # Reaped by the tree; else Popen would warn of a running child.
    if received:
        return 128 + received[0]
    if tree.status is None:
        return STOPPED_BY_ITS_CALLER
    code = os.waitstatus_to_exitcode(tree.status)
    return code if code >= 0 else 128 - code


class _Saving:
    """Asks the command to save and end, where it can, and counts the time that it has for that.

    Attributes:
        pause: seconds until the next look.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.pause = _SECONDS_BETWEEN_LOOKS
        self._grace = float(options.get("--grace", "0"))
        self._request, self._notice = options.get("--request"), options.get("--notice")
        self._heeded, self._answered = options.get("--heeded"), options.get("--answered")
        self._host = options.get("--host")
        self._deadline: float | None = None

    def may_run_on(self, *, orphaned: bool) -> bool:
        """Looks whether the command is asked to end, and whether it still has time to do so.

        Args:
            orphaned: whether its caller is gone.
        """
        if self._request is None:
            return not orphaned
        if self._deadline is None:
            if orphaned:
                self._ask_for_the_dead(self._request)
            elif _exists(self._notice):
                self._ask(self._request, {"reason": "this machine's notice", "retryable": True})
            elif not _exists(self._request):
                return True
            if not _exists(self._heeded):
                return False
            self._deadline = time.monotonic() + self._grace
            self.pause = _POLL_SECONDS
        if _exists(self._answered):
            self._answered = None
            self._deadline = min(self._deadline, time.monotonic() + _SECONDS_AFTER_AN_ANSWER)
        return time.monotonic() < self._deadline

    def _ask_for_the_dead(self, request: str) -> None:
        wish: dict[str, object] = {"reason": "its caller ended"}
        if self._host is not None:
            wish = {"reason": f"its caller on host {self._host} ended", "lost": int(self._host)}
        self._ask(request, wish)

    def _ask(self, request: str, wish: Mapping[str, object]) -> None:
        """Writes the request, unless somebody else has: `processes.stopping` reads it."""
        if _exists(request):
            return
        # On a full disk nothing can be saved either.
        with contextlib.suppress(OSError):
            aside = Path(f"{request}.aside")
            aside.write_text(json.dumps(wish))
            aside.rename(request)


class _Tree:
    """Holds the command and everything below it; orphans too, because they become our children.

    Attributes:
        status: the command's wait status once it ended by itself.
    """

    def __init__(self, command: int) -> None:
        self.status: int | None = None
        self._command = command
        self._command_lives = True
        self._stopping = False

    def reap(self) -> bool:
        """Collects what has ended; returns whether anything is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._command:
                self._command_lives = False
                if not self._stopping:
                    self.status = status

    def stop(self, steps: _Steps) -> None:
        """Sends signals until nothing is left, or until SIGKILL, the last step, did not help.

        Args:
            steps: signals in order, each with the seconds that it is given.
        """
        self._stopping = True
        for signum, seconds in steps:
            deadline = time.monotonic() + seconds
            sent: set[int] = set()
            while self.reap():
                if signum == signal.SIGINT:
                    targets = {self._command} if self._command_lives else set()
                else:
                    targets = _descendants()
                for pid in targets - sent:
                    _send(pid, signum)
                # Once each, so that a handler is not interrupted by the next one.
                if signum != signal.SIGKILL:
                    sent |= targets
                if time.monotonic() >= deadline or (signum == signal.SIGINT and not targets):
                    break
                time.sleep(_POLL_SECONDS)
            else:
                return
        sys.stderr.write("mixnet: processes are left that SIGKILL does not end\n")


def _exists(path: str | None) -> bool:
    return path is not None and os.path.exists(path)  # noqa: PTH110


def _before_command() -> None:
    """Runs in the forked child; the setting survives the exec."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _catch_signals() -> tuple[int, list[int]]:
    """Catches signals: those that stop the command, and SIGCHLD.

    Returns:
        A descriptor that becomes readable at every signal, and a list that gets those to stop by.
    """
    received: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        if signum != signal.SIGCHLD:
            received.append(signum)

    wake, write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for signum in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, note)
    # The command inherits the mask, and default actions for what is caught here: an interrupt that
    # the caller ignores or blocks, as a shell's background job does, then still reaches it.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return wake, received


def _descendants() -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            children.setdefault(_parent(int(entry)), []).append(int(entry))
    found: set[int] = set()
    pending = [os.getpid()]
    while pending:
        below = children.get(pending.pop(), [])
        found.update(below)
        pending.extend(below)
    return found


def _ancestors() -> list[int]:
    found = [os.getppid()]
    while found[-1] > 1:
        found.append(_parent(found[-1]))
    return found


def _parent(pid: int) -> int:
    """Returns a process's parent; 0 for init, and for a process that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    # The command's name stands in parentheses and may hold spaces and parentheses itself.
    return int(stat.rpartition(")")[2].split()[1])


def _send(pid: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
