"""The last epoch's weights."""

from __future__ import annotations

from collections.abc import Sequence

from mixnet_core.runs.values import Candidate, Checkpoint
from mixnet_core.stages.policy import Policy, as_trained


class Last(Policy):
    rule = "the last epoch's weights, whatever they reach on the select split"

    def choose(self, candidates: Sequence[Candidate]) -> Checkpoint:
        return as_trained(candidates)[-1].checkpoint


POLICY = Last()
