"""Durations and moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """Returns a duration in its two largest units, such as `2 d 3 h`, `5 min 20 s` or `40 s`."""
    left = round(seconds)
    parts = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    two = parts[first : first + 2]
    return " ".join(f"{count} {unit}" for count, unit in two if count or len(two) == 1)


def moment(time: float, *, now: float) -> str:
    """Returns a time of day in UTC; with its date where that is not `now`'s.

    Args:
        time, now: seconds since 1970.
    """
    then, today = datetime.fromtimestamp(time, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M UTC" if then.date() == today.date() else "%Y-%m-%d %H:%M UTC")
