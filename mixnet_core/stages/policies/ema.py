"""The last epoch's moving averages."""

from __future__ import annotations

from collections.abc import Sequence

from mixnet_core.errors import InputError
from mixnet_core.recipe.sections import Training
from mixnet_core.runs.values import Candidate, Checkpoint
from mixnet_core.stages.policy import Policy


class Ema(Policy):
    rule = "the last epoch's moving averages, whatever they reach on the select split"

    def check(self, training: Training) -> None:
        if training.ema_decay is None:
            raise ValueError(
                "selection.policy ema takes moving averages, of which training.ema_decay null "
                "keeps none: set it, as to 0.9999, or choose another policy"
            )

    def choose(self, candidates: Sequence[Candidate]) -> Checkpoint:
        averages = [item.checkpoint for item in candidates if item.checkpoint.averaged]
        if not averages:
            raise InputError(
                "selection.policy is ema, and no checkpoint has moving averages: choose another "
                "policy, or train with training.ema_decay"
            )
        return averages[-1]


POLICY = Ema()
