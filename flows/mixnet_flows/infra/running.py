"""A program of the server's: supervised, logged, and started again when it ends by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mixnet_core.errors import JobFailed
from mixnet_core.processes import supervisor
from mixnet_core.storage.files import os_errors_explained

# The supervisor ends everything below it in eight.
STOP_SECONDS = 12.0
# What ends sooner than that has not served anybody: so often in a row, it never will. What once
# did may be without its database for an hour, and is tried again all the time.
_USEFUL_SECONDS = 60.0
_MOST_USELESS = 3
_LONGEST_PAUSE = 60.0
_LONGEST_LOG_BYTES = 20_000_000


@dataclass
class Program:
    """A command below a supervisor: it ends with this process, however that ends.

    Attributes:
        environment: None is this process's.
        home: gets the log, `name`.log.
        folder: where it runs; None is this process's.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = field(repr=False)
    home: Path
    folder: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _started: float = field(default=0.0, init=False, repr=False)
    _useless: int = field(default=0, init=False, repr=False)
    _has_served: bool = field(default=False, init=False, repr=False)
    # Since it was seen to have ended.
    _next_start: float | None = field(default=None, init=False, repr=False)

    @property
    def log(self) -> Path:
        return self.home / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Process id of its supervisor."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it.

        Raises:
            MachineError: the log cannot be written.
        """
        with os_errors_explained(self.log), self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*(sys.executable, "-I", "-S", str(supervisor.__file__), "--"), *self.command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches this process only, and the order of ending is ours.
                start_new_session=True,
            )
        self._started = time.monotonic()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ends it and all below it."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_again(self) -> bool:
        """Starts it after it ended by itself: killed for want of memory, or by a fault of its own.

        What ends soon after its start again and again is given a pause before the next one.

        Returns:
            Whether it was started, or waits.

        Raises:
            JobFailed: it has not served anybody yet, and ended soon after its start three times in
                a row.
            MachineError: the log cannot be written.
        """
        now = time.monotonic()
        if self._next_start is None:
            self.stop()
            soon = now - self._started < _USEFUL_SECONDS
            self._has_served = self._has_served or not soon
            self._useless = self._useless + 1 if soon else 0
            if self._useless >= _MOST_USELESS and not self._has_served:
                raise JobFailed(
                    f"the {self.name} ended {_MOST_USELESS} times, each within "
                    f"{_USEFUL_SECONDS:.0f} s: see {self.log}",
                    retryable=True,
                )
            self._next_start = now
            if self._useless > 1:
                self._next_start += min(2.0**self._useless, _LONGEST_PAUSE)
        if now < self._next_start:
            return False
        self._next_start = None
        self.start()
        return True

    def shorten_log(self) -> None:
        """Moves the log's text into another file, .log.1, once it is long.

        The program appends, so it goes on at the start of the file that was emptied. A line that
        comes between the copy and that is lost. On a full disk all of the text is: what runs have
        to save needs its room more.
        """
        if not self.log.is_file() or self.log.stat().st_size < _LONGEST_LOG_BYTES:
            return
        before = self.log.with_suffix(".log.1")
        with suppress(OSError):
            try:
                shutil.copyfile(self.log, before)
            except OSError:
                before.unlink(missing_ok=True)
            os.truncate(self.log, 0)


@contextmanager
def running(program: Program) -> Iterator[Program]:
    """Runs a program for as long as the block."""
    program.start()
    try:
        yield program
    finally:
        program.stop()
