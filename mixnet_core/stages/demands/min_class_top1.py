"""Each class's own top-1: an average may hide one class that is never right."""

from __future__ import annotations

import numpy as np

from mixnet_core.evaluate.counting import Judged
from mixnet_core.evaluate.statistics import wilson_interval
from mixnet_core.runs.values import Check
from mixnet_core.stages.demand import Demand
from mixnet_core.storage.uris import shown_value


class MinClassTop1(Demand):
    """A share; refused where some class's 95 % interval lies below it."""

    def check(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(
                f"acceptance.min_class_top1 must be a share in 0..1, got {shown_value(value)}"
            )

    def judge(self, value: object, rows: Judged, classes: tuple[str, ...]) -> Check:
        assert isinstance(value, int | float)
        counts = np.bincount(rows["label"], minlength=len(classes))
        correct = np.bincount(rows["label"][rows["place"] == 0], minlength=len(classes))
        shares = np.where(counts > 0, correct / np.maximum(counts, 1), 1.0)
        below = [
            label
            for label in np.flatnonzero(counts)
            if wilson_interval(int(correct[label]), int(counts[label]))[1] < value
        ]
        # A class of few images may be the worst by chance, and is not what is refused then.
        worst = int(min(below or np.flatnonzero(counts), key=lambda label: shares[label]))
        low, high = wilson_interval(int(correct[worst]), int(counts[worst]))
        line = (
            f"top-1 of class {classes[worst]!r} {100 * shares[worst]:.2f} % (95 % "
            f"interval {100 * low:.2f} to {100 * high:.2f} % on {counts[worst]:,} images)"
        )
        if below:
            more = f", with {len(below) - 1} more" if len(below) > 1 else ""
            return Check(ok=False, line=f"{line} is below the demanded {100 * value:.2f} %{more}")
        return Check(ok=True, line=f"{line} is the least, {100 * value:.2f} % demanded of each")


DEMAND = MinClassTop1()
