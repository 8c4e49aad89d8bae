"""The mean of the last checkpoints' weights (arXiv:1803.05407)."""

from __future__ import annotations

from collections.abc import Sequence

from mixnet_core.recipe.choices import Selection
from mixnet_core.runs.values import Candidate, Checkpoint
from mixnet_core.stages.policy import Policy


class MeanLast(Policy):
    rule = "the mean of the last {} checkpoints, BatchNorm statistics {}"

    def last(self, selection: Selection) -> int:
        return selection.mean_of

    def members(self, selection: Selection, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return candidates[-selection.mean_of :]

    def choose(self, candidates: Sequence[Candidate]) -> Checkpoint:
        return candidates[-1].checkpoint


POLICY = MeanLast()
