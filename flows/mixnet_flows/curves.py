"""The curves of a training in the dashboard, drawn anew while it trains, from its metrics alone."""

from __future__ import annotations

import time

from mixnet_core.evaluate.report.data import watched_curves
from mixnet_core.evaluate.report.plots import curves_png
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import Tick
from mixnet_core.train.metrics import read_metrics
from mixnet_flows.artifacts import KeptArtifact, artifact_key, data_uri, tried

# Drawing takes half a second, in which the rows of the training wait.
_SECONDS_AFTER_AN_EPOCH = 30.0
_SECONDS_WITHIN_ONE = 300.0


class LiveCurves:
    """Shows how a run trains as one image artifact of the flow run.

    It is drawn anew after an epoch and, where epochs are long, within one.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._kept = KeptArtifact("image", artifact_key(run.name, "curves"), taken_over=True)
        self._drawn_at = -_SECONDS_WITHIN_ONE
        self._drawn = 0

    def ticked(self, tick: Tick) -> bool:
        """Draws anew if that is due."""
        wait = _SECONDS_AFTER_AN_EPOCH if tick.routine else _SECONDS_WITHIN_ONE
        return time.monotonic() - self._drawn_at < wait or self.show(f", {tick.detail}")

    def ended(self) -> None:
        """Draws all there is."""
        self.show()

    def show(self, said: str = "") -> bool:
        """Draws all there is, if that is more than before; nothing before the first logged step.

        Args:
            said: is put behind the description.

        Returns:
            Whether the dashboard took it.
        """
        return tried(lambda: self._draw(said), at_once=True)

    def _draw(self, said: str) -> None:
        rows = read_metrics(self._run.metrics)
        if len(rows) == self._drawn or not any(row["event"] == "step" for row in rows):
            return
        png = curves_png(watched_curves(rows))
        self._kept.show(data_uri(png), f"How {self._run.name} trains{said}")
        self._drawn = len(rows)
        # From the end of the drawing on.
        self._drawn_at = time.monotonic()
