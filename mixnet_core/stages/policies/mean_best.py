"""The mean of the best checkpoints' weights (arXiv:2203.05482)."""

from __future__ import annotations

from collections.abc import Sequence

from mixnet_core.recipe.choices import Selection
from mixnet_core.runs.values import Candidate, Checkpoint
from mixnet_core.stages.policy import TIES, Policy, order


class MeanBest(Policy):
    rule = (
        "the mean of the {} checkpoints with the highest top-1 on the select split "
        f"({TIES}), BatchNorm statistics {{}}"
    )

    def best(self, selection: Selection) -> int:
        return selection.mean_of

    def members(self, selection: Selection, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return sorted(candidates, key=order)[-selection.mean_of :]

    def choose(self, candidates: Sequence[Candidate]) -> Checkpoint:
        return candidates[-1].checkpoint


POLICY = MeanBest()
