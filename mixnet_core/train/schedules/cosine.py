"""Half a cosine (arXiv:1608.03983, without restarts)."""

from __future__ import annotations

import math


class Cosine:
    """Falls by half a cosine; see `schedule.ScheduleKind`."""

    def rate(self, step: int, steps: int, *, lr: float, min_lr: float) -> float:
        """Returns the learning rate of one step of the decay."""
        half = (lr - min_lr) / 2
        return min_lr + half * (1 + math.cos(math.pi * step / steps))


SCHEDULE = Cosine()
