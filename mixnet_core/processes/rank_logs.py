"""The logs that the ranks of a job left in its attempt's folder, and their last lines.

attempt-001/log.txt                the output of a job of one process, or msrun's
attempt-001/log-host-1.txt         msrun's on another host, of several
attempt-001/workers/worker_N.log   rank N's, where there are several; scheduler.log is MindSpore's
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.runs.markup import visible
from mixnet_core.storage.uris import shown_words

LOG = "log.txt"
WORKERS = "workers"

_TAIL_BYTES = 1 << 18
_MOST_LETTERS = 400
_ATTEMPT = re.compile(r"attempt-(\d+)")
_WORKER = re.compile(r"worker_(\d+)\.log")
_HOST = re.compile(r"log-host-(\d+)\.txt")


@dataclass(frozen=True)
class RankLog:
    """Names a log.

    Attributes:
        whose: as people say it.
        path: where it is.
    """

    whose: str
    path: Path

    def last_lines(self, most: int) -> list[str]:
        """Returns its last lines as they may be shown: no secret, nothing that a terminal obeys.

        Empty lines and MindSpore's chatter, which it writes whatever its log level, are left out.
        """
        lines = [line.rstrip() for line in tail(self.path).splitlines()]
        told = [line for line in lines if line.strip() and not line.startswith("[INFO]")]
        return [_as_shown(line) for line in told[-most:]]


def newest_attempt(attempts: Path) -> Path | None:
    """Returns the newest folder of `attempts`; None where there is none."""
    try:
        found = [
            (int(match[1]), path)
            for path in attempts.iterdir()
            if (match := _ATTEMPT.fullmatch(path.name)) and path.is_dir()
        ]
    except OSError:
        return None
    return max(found)[1] if found else None


def rank_logs(attempt: Path) -> list[RankLog]:
    """Lists the logs that are there, the ranks' in their order, then those of what starts them."""
    workers = [
        (int(match[1]), path)
        for path in (attempt / WORKERS).glob("worker_*.log")
        if (match := _WORKER.fullmatch(path.name))
    ]
    ranks = [RankLog(f"rank {rank}", path) for rank, path in sorted(workers)]
    scheduler = attempt / WORKERS / "scheduler.log"
    elsewhere = [
        (int(match[1]), path)
        for path in attempt.glob("log-host-*.txt")
        if (match := _HOST.fullmatch(path.name))
    ]
    others = (
        RankLog("msrun" if ranks else "the job", attempt / LOG),
        *(RankLog(f"msrun of host {host}", path) for host, path in sorted(elsewhere)),
        RankLog("MindSpore's scheduler", scheduler),
    )
    return [*ranks, *(log for log in others if log.path.is_file())]


def log_of_host(host: int) -> str:
    """Names what a job of several hosts prints on one of them, from 0; host 0's is LOG."""
    return f"log-host-{host}.txt" if host else LOG


def tail(log: Path, most_bytes: int = _TAIL_BYTES) -> str:
    """Returns the end of a log, "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - most_bytes))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def named(logs: Sequence[RankLog]) -> str:
    """Says in one line where the logs are."""
    return ", ".join(f"{log.whose}: {log.path}" for log in logs)


def _as_shown(line: str) -> str:
    # The indentation of a traceback says what belongs to what.
    words = line.lstrip()
    text = visible(line[: len(line) - len(words)] + shown_words(words))
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
