"""Numbers of bytes as people read them."""

from __future__ import annotations


def size(count: float) -> str:
    """Returns a number of bytes in words, in powers of a thousand: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
