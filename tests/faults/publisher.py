"""Publishes what it is told on standard input, each time in a process that may be killed.

A line in: a release's name; out: the process's id. An empty line in; out: its exit code, when it
has ended. Its memory begins as this one's does: what is killed is publishing, not an import.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import mixnet_core.storage.s3.parts  # noqa: F401
from mixnet_core.release.publish import publish_release
from mixnet_core.storage.schemes import s3


def main(registry: str, folder: Path, multipart_bytes: int) -> None:
    s3.MULTIPART_BYTES = multipart_bytes
    files = {path.stem: path for path in sorted(folder.iterdir())}
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                publish_release(line.strip(), registry=registry, files=files, facts={"n": 1})
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        say(pid)
        # Until it is asked for, a process that was killed or has ended keeps its id.
        sys.stdin.readline()
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
