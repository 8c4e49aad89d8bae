"""How a command ends: what it prints last, and its exit code.

With --json, standard output has one JSON object whatever happens: the results that there are, and
under `error` what ended the command. Without, an error is one line on standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

import typer

from mixnet_core.errors import InputError, MachineError, MixnetError, visible
from mixnet_core.storage.uris import shown_words

# What a shell makes of Ctrl-C, and typer.
INTERRUPTED = 130
# What a shell makes of SIGTERM.
TERMINATED = 143
# Of a fault of this program: Python's own.
_UNFORESEEN = 1
# Enough for every fault of a recipe; a name that was typed may be longer.
_MOST_LETTERS = 4000
# What pathlib makes of ~NAME.
_NO_HOME = "Could not determine home directory"
_GOES_ON = "the same command goes on from what is finished"


class Terminated(BaseException):
    """The command got SIGTERM, or SIGHUP of a terminal that is gone; raised as Ctrl-C is."""


_results: ContextVar[dict[str, Any] | None] = ContextVar("results", default=None)


@contextmanager
def raised_when_terminated() -> Iterator[None]:
    """Has SIGTERM and SIGHUP raise `Terminated`, unless whoever started this has them ignored."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise Terminated

    signals = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        signals = []
    for signum in signals:
        signal.signal(signum, terminate)
    try:
        yield
    finally:
        for signum in signals:
            signal.signal(signum, signal.SIG_DFL)


def print_json(results: Mapping[str, Any]) -> None:
    """Prints results as one JSON object on standard output, once the command has ended."""
    waiting = _results.get()
    if waiting is None:
        # A command that is called without `ended`.
        _write_json(dict(results))
    else:
        waiting.update(results)


def ended(work: Callable[[], int | None], *, as_json: bool) -> int:
    """Runs a command and prints what it ends with.

    Args:
        work: returns an exit code, None for 0; raises MixnetError, or what typer does.
        as_json: whether --json is among its options.

    Returns:
        The exit code.
    """
    results: dict[str, Any] = {}
    token = _results.set(results)
    try:
        code, error = _worked(work)
    finally:
        _results.reset(token)
    return _printed(results, error, code, as_json=as_json)


def _worked(work: Callable[[], int | None]) -> tuple[int, dict[str, Any] | None]:
    """Returns the exit code and what is said of an error."""
    try:
        code = work() or 0
    except MixnetError as error:
        return error.exit_code, _said(error, error.exit_code, retryable=error.retryable)
    except typer.TyperException as error:
        mistake = InputError(_usage(error))
        return mistake.exit_code, _said(mistake, mistake.exit_code)
    except SystemExit as stopped:
        # typer's, of a reader that has seen enough.
        code = 0 if isinstance(stopped.__context__, BrokenPipeError) else int(stopped.code or 0)
    except OSError as error:
        failed = _os_error(error)
        return failed.exit_code, _said(failed, failed.exit_code)
    except Terminated:
        code = TERMINATED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except RuntimeError as error:
        if _NO_HOME not in str(error):
            return _unforeseen(error)
        mistake = InputError("a path begins with ~ and no user of this machine: give it in full")
        return mistake.exit_code, _said(mistake, mistake.exit_code)
    except Exception as error:
        return _unforeseen(error)
    if code == TERMINATED:
        return code, _fields("Terminated", f"terminated; {_GOES_ON}", code, retryable=True)
    if code == INTERRUPTED:
        return code, _fields("Interrupted", f"interrupted; {_GOES_ON}", code, retryable=True)
    return code, None


def _os_error(error: OSError) -> MachineError:
    said = error.strerror or error
    if error.filename is None:
        # Standard output has none.
        return MachineError(f"cannot write: {said}; check where output goes, and the room there")
    place = shown_words(str(error.filename))
    return MachineError(f"cannot use {place}: {said}; check the path and its permissions")


def _unforeseen(error: Exception) -> tuple[int, dict[str, Any]]:
    traceback.print_exc()
    # Not written with a look at what may be shown.
    fields = _fields(type(error).__name__, shown_words(str(error)), _UNFORESEEN, retryable=False)
    return _UNFORESEEN, fields


def _said(error: Exception, code: int, *, retryable: bool = False) -> dict[str, Any]:
    return _fields(type(error).__name__, str(error), code, retryable=retryable)


def _fields(kind: str, message: str, code: int, *, retryable: bool) -> dict[str, Any]:
    return {
        "type": kind,
        "message": _visible(message),
        "retryable": retryable,
        "exit_code": code,
    }


def _visible(text: str) -> str:
    """Writes out what a terminal would obey, as a name in a file may be anything, on one line."""
    text = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
    return visible(text)


def _usage(error: typer.TyperException) -> str:
    """Says in a line what typer does not take, and where it says what it takes."""
    said = shown_words(error.format_message()).strip().rstrip(".") or "no command"
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "mixnet"
    return f"{said[:1].lower()}{said[1:]}: `{command} --help` says what there is"


def _printed(
    results: dict[str, Any], error: dict[str, Any] | None, code: int, *, as_json: bool
) -> int:
    try:
        if as_json and (results or error):
            _write_json(results | ({"error": error} if error else {}))
        sys.stdout.flush()
    except OSError as failed:
        # The interpreter would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(failed, BrokenPipeError) and not code:
            full = _os_error(failed)
            code, error = full.exit_code, _said(full, full.exit_code)
    if error:
        typer.echo(f"mixnet: {error['message']}", err=True)
    return code


def _write_json(value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # Of a file's name, what is no text.
        text = json.dumps(value, indent=2)
    typer.echo(text)
