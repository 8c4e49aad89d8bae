"""Asks a program of the machine, which may be missing, fail, or hang with its device."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mixnet_core.errors import visible

# npu-smi answers within a second or two for eight cards; one that hangs never does.
SECONDS = 20.0
_MOST_BYTES = 1 << 20
_KILLED_SECONDS = 1.0
# Where drivers put them, which is not on every user's PATH.
_FOLDERS = ("/usr/local/bin", "/usr/local/sbin", "/usr/local/Ascend/driver/tools")


@dataclass(frozen=True)
class Answer:
    """Holds what a program said.

    Attributes:
        how: "said": it ended with 0; "failed": it ended otherwise; "hung": it was ended here.
        text: what it wrote to both outputs.
    """

    how: Literal["said", "failed", "hung"]
    text: str

    @property
    def line(self) -> str:
        """Returns what it said last, in one printable line."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return visible(lines[-1])[:200] if lines else "nothing"


def find_program(name: str, folders: Iterable[str] | None = None) -> Path | None:
    """Finds a program on PATH or where drivers put it; None: it is not here."""
    others = os.pathsep.join(_FOLDERS if folders is None else folders)
    found = shutil.which(name) or (shutil.which(name, path=others) if others else None)
    return Path(found) if found else None


def ask(program: Path, arguments: Sequence[str] = (), *, seconds: float = SECONDS) -> Answer:
    """Runs a program without input and returns what it said.

    What hangs is killed with all that it started. A process that waits for a broken device cannot
    be killed; it is left alone, and this call returns all the same.

    Args:
        seconds: how long it may take.
    """
    # No pipe: reading one would wait for whoever else holds it. And no file: where there is no room
    # for one is what a check may be there to tell.
    with os.fdopen(os.memfd_create("answer"), "w+b") as output:
        try:
            process = subprocess.Popen(
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            return Answer("failed", f"cannot start {program}: {error.strerror or error}")
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        if code is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_KILLED_SECONDS)
        output.seek(0)
        text = output.read(_MOST_BYTES).decode(errors="replace")
    return Answer("hung" if code is None else "failed" if code else "said", text)
