"""What a failed attempt raises, read from what its processes left in the attempt's folder.

In this order, because the former explain the latter:

    an error that the job foresaw          raised again as its type
    a rank that its peers missed           MindSpore's scheduler names it and ends the others
    a signal                               killed, by whom; a crash in native code, where
    memory, a card, a link                 `processes.device_faults`, from the ranks' logs
    any other exception or exit code       as it is

Every message ends with whether trying again helps, and the log to read.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mixnet_core import errors
from mixnet_core.errors import InputError, IntegrityError, JobFailed, MachineError, MixnetError
from mixnet_core.processes import child
from mixnet_core.processes.device_faults import Fault, awaited_rank, fault_in
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.oom_kills import OomKills
from mixnet_core.processes.rank_logs import LOG, WORKERS, tail
from mixnet_core.storage.files import read_json

AGAIN = "trying again helps"
NOT_AGAIN = "trying again will not help"

_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
_WORKER_FAILED = re.compile(r"Worker process (\d+) exit with exception\. Error code: (-?\d+)")
# MindSpore 2.10's scheduler, about 30 s after a rank's last heartbeat; then it ends the others by
# SIGTERM, and msrun names one of those as what failed.
_RANK_TIMED_OUT = re.compile(r"The node: (\d+) is timed out")
# faulthandler's: the frame that was running is the first one.
_TOP_FRAME = re.compile(
    r"Fatal Python error: .*?^Current thread [^\n]*\n\s*File \"([^\"\n]+)\", line (\d+) in (\S+)",
    re.DOTALL | re.MULTILINE,
)


def cause_of(
    module: str,
    attempt: Path,
    code: int,
    *,
    ranks: int,
    kills: OomKills | None = None,
    stopped: Sequence[str] = (),
    host: HostRanks | None = None,
) -> MixnetError:
    """Returns the error that a rank raised, as the same type; else one from exit codes and logs.

    Args:
        module: the job's, for messages.
        attempt: the attempt's folder.
        code: the supervisor's exit code; negative if a signal ended the supervisor.
        ranks: processes that were started.
        kills: counting since before the attempt.
        stopped: ranks that were stopped, as by SIGSTOP, when last seen alive.
        host: of several, which this one is; None: all ranks were started here.
    """
    return _Attempt(module, attempt, ranks, host).cause(code, kills, stopped)


def stalled(module: str, attempt: Path, what: str, *, ranks: int) -> JobFailed:
    """Returns the error for an attempt that was ended because it hung.

    Args:
        module: the job's, for messages.
        attempt: the attempt's folder.
        what: as `Watchdog.look` said it.
        ranks: processes that were started.
    """
    logs = {_log_of(attempt, str(rank), ranks=ranks) for rank in range(ranks)}
    return JobFailed(
        f"{module} made {what}: {AGAIN}; what its ranks were doing is in "
        f"{', '.join(map(str, sorted(logs)))}",
        retryable=True,
    )


def failed_worker(attempt: Path, host: HostRanks | None = None) -> tuple[int, int] | None:
    """Finds the worker that msrun saw fail, in msrun's log.

    Args:
        attempt: the attempt's folder.
        host: whose msrun, of several.

    Returns:
        Its process id and its exit code, negative for a signal; None if msrun named no worker.
    """
    found = _WORKER_FAILED.search(tail(host.log(attempt) if host else attempt / LOG))
    return (int(found[1]), int(found[2])) if found else None


class _Attempt:
    def __init__(self, module: str, folder: Path, ranks: int, host: HostRanks | None) -> None:
        self._module, self._folder, self._ranks, self._host = module, folder, ranks, host

    def cause(self, code: int, kills: OomKills | None, stopped: Sequence[str]) -> MixnetError:
        found = [(read_json(path), path) for path in self._folder.glob("failure-*.json")]
        # Expected ones first, then the earliest: a rank that lost its peer fails too, later. By the
        # time of their disk, which is one: clocks of hosts differ.
        found.sort(key=lambda each: (not each[0]["expected"], each[1].stat().st_mtime_ns))
        failures = [failure for failure, _ in found]
        if failures and failures[0]["expected"]:
            return same_error(failures[0])
        rank, who, code = self._ended(code)
        missed = self._missed(rank, code)
        if missed:
            return self._missing(missed, stopped)
        if code == -signal.SIGKILL:
            return self._killed(rank, who, kills)
        if code < 0 and -code not in _CRASHES:
            return self._failed(f"{who} was ended by {_name(-code)}, from outside", True, rank)
        blamed = [rank] if rank else [failure["rank"] for failure in failures[:1]]
        if code != 0 and (fault := self._fault(blamed, crashed=code < 0)):
            return fault
        if code < 0:
            return self._crashed(rank, who, code)
        if failures:
            first = failures[0]
            what = f"{self._module} raised {first['type']} on rank {first['rank']}"
            return self._failed(f"{what}: {first['message']}", False, first["rank"])
        if code == 0:
            what = f"left no {child.RESULT}: it must end in child.main"
            return self._failed(f"{who} ended with exit code 0 but {what}", False, rank)
        last = _last_line(self._log(rank))
        what = f"{who} ended with exit code {code}, last line {last!r}"
        return self._failed(what, False, rank)

    def _failed(self, what: str, retryable: bool, rank: str, *, of_peer: bool = False) -> JobFailed:
        verdict = AGAIN if retryable else NOT_AGAIN
        text = f"{what}: {verdict}; its log is {self._log(rank)}"
        return JobFailed(text, retryable=retryable, of_peer=of_peer)

    def _ended(self, code: int) -> tuple[str, str, int]:
        """Finds the rank that failed.

        msrun ends with 1 whatever a worker died of, and names the worker by its process id in its
        log.

        Returns:
            The rank, "" if it cannot be told; who that is in words; its exit code, negative for a
            signal.
        """
        worker = failed_worker(self._folder, self._host) if self._ranks > 1 else None
        if worker is not None:
            for rank, pid in self._pids().items():
                if pid == worker[0]:
                    return rank, f"{self._module} on rank {rank}", worker[1]
            return "", self._module, worker[1]
        if code < 0:
            return "", f"the supervisor of {self._module}", code
        who = f"msrun of {self._module}" if self._ranks > 1 and code else self._module
        # Above 128: the supervisor's form of a signal.
        return "", who, 128 - code if code > 128 else code

    def _missed(self, rank: str, code: int) -> list[str]:
        """Lists ranks whose heartbeat MindSpore's scheduler missed.

        Empty where an end that is known explains it: the failed rank is among them, or was
        SIGKILLed. On another host than the scheduler's a rank that is cut off ends by SIGTERM.
        """
        log = tail(self._folder / WORKERS / f"{child.SCHEDULER}.log")
        found = list(dict.fromkeys(_RANK_TIMED_OUT.findall(log)))
        if self._host is not None and not self._host.leads and code == -signal.SIGTERM:
            return found
        if code in (0, -signal.SIGKILL) or rank in found:
            return []
        return found

    def _missing(self, missed: list[str], stopped: Sequence[str]) -> JobFailed:
        held = [rank for rank in missed if rank in stopped]
        why = "it was stopped (SIGSTOP)" if held else "it or its network hangs"
        where = ""
        if self._host is not None and self._host.hosts > 1:
            where = f" of host {self._host.at_work[int(missed[0]) // self._host.each]}"
        what = (
            f"{self._module} lost rank {missed[0]}{where}, of which the others heard nothing "
            f"({why})"
        )
        return self._failed(what, True, missed[0], of_peer=True)

    def _killed(self, rank: str, who: str, kills: OomKills | None) -> JobFailed:
        evidence = kills.evidence(self._pids().values()) if kills else None
        if evidence:
            return self._failed(
                f"{who} was ended by the kernel's out-of-memory killer (SIGKILL; {evidence}); "
                "lower devices.micro_batch or devices.ranks if nothing else took the memory",
                True,
                rank,
            )
        counted = kills is not None and kills.counted
        hint = "from outside" if counted else "from outside or for want of memory"
        return self._failed(f"{who} was ended by SIGKILL, {hint}", True, rank)

    def _crashed(self, rank: str, who: str, code: int) -> JobFailed:
        """Returns a retryable error: a card or its driver may have been the reason.

        A crash that repeats leaves no newer checkpoint, and then no further attempt is made.
        """
        frame = _TOP_FRAME.search(tail(self._log(rank)))
        function = f", in {frame[3]} ({Path(frame[1]).name}:{frame[2]})" if frame else ""
        return self._failed(f"{who} crashed with {_name(-code)}{function}", True, rank)

    def _fault(self, blamed: list[str], *, crashed: bool) -> MixnetError | None:
        """Finds the fault that the ranks' logs tell, the blamed rank's log first.

        A fault of which a peer is to blame (`Fault.of_peer`) counts only if no log tells another.
        A crash is explained by the crashed rank's own log alone, and never by waiting for a peer.
        """
        others = [str(r) for r in range(self._ranks) if str(r) not in blamed]
        ranks = [*blamed, *([] if crashed and blamed else others)]
        found: list[tuple[str, Fault, str]] = []
        for rank in ranks if self._ranks > 1 else [""]:
            hit = fault_in(tail(self._log(rank)))
            if hit and not (crashed and hit[0].of_peer):
                found.append((rank, *hit))
        if not found:
            return None
        rank, fault, line = min(found, key=lambda row: row[1].of_peer)
        verdict = AGAIN if fault.retryable else NOT_AGAIN
        log = self._log(rank)
        what = fault.what
        awaited = awaited_rank(tail(log)) if fault.of_peer else None
        if awaited is not None and awaited != rank:
            what = f"it waited in vain for rank {awaited}"
            if int(awaited) < self._ranks:
                log = self._log(awaited)
        where = f"{self._module} on rank {rank}" if rank else self._module
        text = f"{where}: {what} ({line}); {fault.remedy}: {verdict}; its log is {log}"
        if fault.memory:
            return MachineError(text)
        return JobFailed(text, retryable=fault.retryable, of_peer=fault.of_peer)

    def _pids(self) -> dict[str, int]:
        """Returns the process ids of this host's ranks."""
        found = {}
        for rank in map(str, self._host.here if self._host else range(self._ranks)):
            try:
                found[rank] = int(read_json(self._folder / child.process_file(rank)))
            except (InputError, IntegrityError):
                continue
        return found

    def _log(self, rank: str) -> Path:
        if not rank and self._host is not None:
            return self._host.log(self._folder)
        return _log_of(self._folder, rank, ranks=self._ranks)


def same_error(failure: Mapping[str, Any]) -> MixnetError:
    """Returns an error as it was raised elsewhere.

    Args:
        failure: its "type", a name of `errors`, "message" and "retryable".
    """
    kind = getattr(errors, failure["type"], None)
    if isinstance(kind, type) and issubclass(kind, MixnetError) and kind is not JobFailed:
        error = _of_kind(kind, failure["message"])
        error.retryable = failure["retryable"]
        return error
    return JobFailed(failure["message"], retryable=failure["retryable"])


def _of_kind(kind: type[MixnetError], message: str) -> MixnetError:
    """Returns such an error; of a kind that is made of more than a message, one of what it is."""
    for each in kind.__mro__:
        with suppress(TypeError):
            error = each(message)
            assert isinstance(error, MixnetError)
            return error
    raise AssertionError("unreachable")


def _name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"


def _log_of(attempt: Path, rank: str, *, ranks: int) -> Path:
    if ranks == 1 or not rank:
        return attempt / LOG
    name = "scheduler.log" if rank == child.SCHEDULER else f"worker_{rank}.log"
    return attempt / WORKERS / name


def _last_line(log: Path) -> str:
    """Returns the last line that says something: MindSpore chatters whatever GLOG_v is."""
    lines = [line.strip() for line in tail(log).splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("[INFO]")), "")
