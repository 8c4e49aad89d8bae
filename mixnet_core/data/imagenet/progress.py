"""Progress of unpacking."""

from __future__ import annotations

import time

from mixnet_core.data.imagenet.archives import Archive, Member
from mixnet_core.runs.ticks import Tick, Watch

STAGE = "unpack"
_TICK_SECONDS = 0.1


class Progress:
    """Tells watchers the bytes of the archives that are done, ten times per second at most.

    Attributes:
        detail: a few words on what goes on.
    """

    def __init__(self, watch: Watch, total: int) -> None:
        self.detail = ""
        self._watch, self._total = watch, total
        self._done = self._base = self._images = 0
        self._started = self._last = time.monotonic()

    def settled(self, member: Member) -> None:
        """Counts an image that was written or left out."""
        self._images += 1
        self.skipped(member.size)

    def skipped(self, size: int) -> None:
        """Counts bytes that need not be unpacked again."""
        self._done += size
        if time.monotonic() - self._last >= _TICK_SECONDS:
            self.say(self.detail)

    def finished(self, archive: Archive) -> None:
        """Counts all of an archive that was read to its end, its headers too."""
        self._done = self._base = self._base + archive.identity.size
        self.say(self.detail)

    def say(self, detail: str) -> None:
        """Tells how far it is at once."""
        self._last = time.monotonic()
        speed = self._images / max(1e-3, self._last - self._started)
        self._watch(Tick(STAGE, self._done, self._total, "B", speed or None, detail))
