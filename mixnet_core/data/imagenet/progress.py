"""How far unpacking is."""

from __future__ import annotations

import time

from mixnet_core.data.imagenet.archives import Archive, Member
from mixnet_core.runs.ticks import Tick, Watch

STAGE = "unpack"
_TICK_SECONDS = 0.1


class Progress:
    """Ticks, in bytes of the archives; not one an image, which a terminal could not show."""

    def __init__(self, watch: Watch, total: int) -> None:
        self.detail = ""
        self._watch, self._total = watch, total
        self._done = self._base = self._images = 0
        self._begun = self._last = time.monotonic()

    def settled(self, member: Member) -> None:
        self._images += 1
        self.skipped(member.size)

    def skipped(self, size: int) -> None:
        self._done += size
        if time.monotonic() - self._last >= _TICK_SECONDS:
            self.say(self.detail)

    def finished(self, archive: Archive) -> None:
        """Headers count too, once all of the archive was read."""
        self._done = self._base = self._base + archive.identity.size
        self.say(self.detail)

    def say(self, detail: str) -> None:
        self._last = time.monotonic()
        speed = self._images / max(1e-3, self._last - self._begun)
        self._watch(Tick(STAGE, self._done, self._total, "B", speed or None, detail))
