"""Processes found by a mark in their environment, which every descendant inherits."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import psutil

VARIABLE = "LAUNCH_TEST_MARK"


def marked(mark: str) -> list[psutil.Process]:
    """Running ones; a zombie has no environment any more."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(VARIABLE) == mark:
                found.append(process)
    return found


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def assert_nothing_left(mark: str, *, seconds: float = 10.0) -> None:
    try:
        wait_until(lambda: not marked(mark), "every process gone", seconds=seconds)
    finally:
        for process in marked(mark):
            with suppress(psutil.Error):
                process.kill()
