"""What decoders' libraries print while an image is decoded: kept for the image, in any thread.

libjpeg and libpng, inside OpenCV, write their warnings to C's `stderr` by themselves, without a
file's name and into progress bars. While images are looked at, that stream leads here: C's only,
so that Python's own, tracebacks and child processes are not touched, and nothing is paid where
nothing is said. A line of a thread that decodes is the image's that it decodes; others go on to the
standard error. Where C's library cannot do this (it is not glibc), lines are printed as ever.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STANDARD_ERROR = 2
_UNBUFFERED = 2
_WRITE = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
# A broken file may say the same for every block.
_MOST_LINES = 3


class _Functions(ctypes.Structure):
    """Holds a stream's functions (glibc's cookie_io_functions_t)."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _WRITE),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


class _Thread(threading.local):
    heard: bytearray | None = None


_thread = _Thread()
_lock = threading.Lock()


def _write(_: int | None, words: int | None, count: int) -> int:
    said = ctypes.string_at(words or 0, count)
    if _thread.heard is not None:
        _thread.heard += said
    else:
        with suppress(OSError):
            os.write(_STANDARD_ERROR, said)
    return count


class _Ear:
    """A stream of C's that calls `_write`, and the place where C looks for `stderr`."""

    def __init__(self) -> None:
        # ValueError where there is no such name, AttributeError where no such function.
        library = ctypes.CDLL(None)
        self._place = ctypes.c_void_p.in_dll(library, "stderr")
        self._usual = self._place.value
        # Kept: C calls it as long as the process lives.
        self._functions = _Functions(None, _WRITE(_write), None, None)
        library.fopencookie.restype = ctypes.c_void_p
        library.fopencookie.argtypes = (ctypes.c_void_p, ctypes.c_char_p, _Functions)
        self._stream = library.fopencookie(None, b"w", self._functions)
        if not self._stream:
            raise OSError("fopencookie")
        library.setvbuf.argtypes = (
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t),
        )
        library.setvbuf(self._stream, None, _UNBUFFERED, 0)
        self._listening = 0

    def begin(self) -> None:
        with _lock:
            self._listening += 1
            self._place.value = self._stream

    def end(self) -> None:
        with _lock:
            self._listening -= 1
            if not self._listening:
                self._place.value = self._usual


def _made() -> _Ear | None:
    try:
        return _Ear()
    except (AttributeError, OSError, TypeError, ValueError):
        return None


_ear = _made()


@contextmanager
def heard_from_decoders() -> Iterator[list[str]]:
    """Collects, until it ends, the lines that C code of this thread writes to its `stderr`.

    Yields:
        A list that has the different lines, a few at most, after the block.
    """
    lines: list[str] = []
    if _ear is None:
        yield lines
        return
    _thread.heard = bytearray()
    _ear.begin()
    try:
        yield lines
    finally:
        _ear.end()
        text, _thread.heard = _thread.heard.decode(errors="replace"), None
        different = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
        lines += list(different)[:_MOST_LINES]
