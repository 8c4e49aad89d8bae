"""Whether this machine's clock is right: by another machine's, else by what the kernel says."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

# Of adjtimex(2).
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
# A date in a header has whole seconds, and some servers make a new one once a second only.
RESOLUTION_SECONDS = 1.0
_OLD_SECONDS = 1.0


@dataclass(frozen=True)
class Skew:
    """Holds how far this clock is ahead of another one; behind it where negative.

    Attributes:
        within: seconds by which it may be otherwise.
    """

    seconds: float
    within: float


def skew_of(date: str, before: float, after: float) -> Skew | None:
    """Compares this clock with the Date header of an answer.

    Args:
        before: this clock when the question was asked, in seconds since 1970.
        after: this clock when the answer was there.

    Returns:
        None: it is no date.
    """
    try:
        there: datetime = parsedate_to_datetime(date)
    except ValueError:
        return None
    # Cut to whole seconds: it was half a second later on the average.
    theirs = there.timestamp() + RESOLUTION_SECONDS / 2
    return Skew(
        seconds=(before + after) / 2 - theirs,
        within=(after - before) / 2 + RESOLUTION_SECONDS / 2 + _OLD_SECONDS,
    )


class _Timex(ctypes.Structure):
    """struct timex of 64-bit Linux; what is not read is room at its end."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    )


def kernel_synchronised(adjtimex: Callable[[_Timex], int] | None = None) -> bool | None:
    """Says whether something keeps the kernel's clock right; None: the kernel does not say."""
    state = _Timex()
    try:
        code = adjtimex(state) if adjtimex else _adjtimex(state)
    except (OSError, AttributeError):
        return None
    return code != _TIME_ERROR and not state.status & _STA_UNSYNC


def _adjtimex(state: _Timex) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    # With no modes set it only reads, which everybody may.
    code: int = library.adjtimex(ctypes.byref(state))
    if code < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return code
