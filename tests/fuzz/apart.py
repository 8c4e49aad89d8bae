"""Searching in a process of its own: a case that ends or hangs it is a failure like any other."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.searching import Found, Rule, search

# Beyond its time a search may make a failing case smaller, which hypothesis ends itself.
_MORE_SECONDS = 400
_MOST_CASE_LETTERS = 20_000
_LINES = 16

_context = multiprocessing.get_context("fork")


def searched_apart(rule: Rule, number: int, seconds: float) -> Found:
    """Searches as `searching.search` does, in a child."""
    if rule.before is not None:
        rule.before()
    with tempfile.TemporaryDirectory(prefix="mixnet-fuzz-case-") as folder:
        case, noise = Path(folder, "case"), Path(folder, "noise")
        receives, sends = _context.Pipe(duplex=False)
        child = _context.Process(target=_search, args=(rule, number, seconds, case, noise, sends))
        child.start()
        sends.close()
        try:
            if receives.poll(seconds + _MORE_SECONDS):
                return receives.recv()
            return Found(1, seconds, f"no end on this case:\n{_read(case)}")
        except EOFError:
            child.join()
            end = f"the process ended with {child.exitcode} on this case"
            return Found(1, seconds, f"{_last_words(noise)}{end}:\n{_read(case)}")
        finally:
            child.kill()
            child.join()


def _search(
    rule: Rule, number: int, seconds: float, case: Path, noise: Path, sends: Connection
) -> None:
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What libraries print of thousands of broken files helps nobody.
    sys.stderr = noise.open("w", encoding="utf-8", errors="backslashreplace")
    os.dup2(sys.stderr.fileno(), 2)
    faulthandler.enable(sys.stderr, all_threads=False)
    with case.open("w", encoding="utf-8", errors="backslashreplace") as file:

        def note(text: str) -> None:
            file.seek(0)
            file.truncate()
            file.write(text[:_MOST_CASE_LETTERS])
            file.flush()

        sends.send(search(rule, number, seconds, note))
    sends.close()


def _last_words(noise: Path) -> str:
    lines = [line for line in _read(noise).splitlines() if not line.startswith("Extension mod")]
    # What it was doing comes first of what Python says of a crash.
    crash = next((at for at, line in enumerate(lines) if line.startswith("Fatal")), len(lines))
    return "".join(f"{line}\n" for line in lines[max(0, crash - 2) : crash + _LINES])


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
