"""The best on the select split, moving averages included."""

from __future__ import annotations

from collections.abc import Sequence

from mixnet_core.recipe.choices import Selection
from mixnet_core.runs.values import Candidate, Checkpoint
from mixnet_core.stages.policy import TIES, Policy, order


class Best(Policy):
    rule = f"highest top-1 on the select split; {TIES}"

    def best(self, selection: Selection) -> int:
        return 1

    def averages(self) -> bool:
        return True

    def choose(self, candidates: Sequence[Candidate]) -> Checkpoint:
        return max(candidates, key=order).checkpoint


POLICY = Best()
