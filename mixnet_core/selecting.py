"""Which of a run's checkpoints is taken: the policies, and the rule that each states."""

from __future__ import annotations

from collections.abc import Sequence

from mixnet_core.checkpoints.retention import better
from mixnet_core.errors import InputError
from mixnet_core.recipe_choices import Policy, Selection
from mixnet_core.values import Candidate, Checkpoint

_TIES = "of equals the lower loss, then the later step"

RULES: dict[Policy, str] = {
    "best": f"highest top-1 on the select split; {_TIES}",
    "last": "the last epoch's weights, whatever they reach on the select split",
    "ema": "the last epoch's moving averages, whatever they reach on the select split",
    "mean_best": "the mean of the {} checkpoints with the highest top-1 on the select split "
    f"({_TIES}), BatchNorm statistics {{}}",
    "mean_last": "the mean of the last {} checkpoints, BatchNorm statistics {}",
}


def members(selection: Selection, candidates: Sequence[Candidate]) -> tuple[Checkpoint, ...]:
    """What a mean is to be made of, the oldest first; empty for a policy that makes none."""
    trained = [c for c in candidates if not c.checkpoint.averaged]
    if selection.policy == "mean_best":
        trained.sort(key=lambda c: better(c.score, c.checkpoint.step))
    elif selection.policy != "mean_last":
        return ()
    taken = [c.checkpoint for c in trained[-selection.mean_of :]]
    return tuple(sorted(taken, key=lambda checkpoint: checkpoint.step))


def choose(selection: Selection, candidates: Sequence[Candidate]) -> Checkpoint:
    """The one that the policy takes.

    Args:
        candidates: the oldest first; for a policy that makes a mean, that one at the end.

    Raises:
        InputError: there are no moving averages, for policy ema.
    """
    if selection.policy == "best":
        return max(candidates, key=lambda c: better(c.score, c.checkpoint.step)).checkpoint
    if selection.policy == "ema":
        averages = [c.checkpoint for c in candidates if c.checkpoint.averaged]
        if not averages:
            raise InputError(
                "selection.policy is ema, and no checkpoint has moving averages: choose another "
                "policy, or train with training.ema_decay"
            )
        return averages[-1]
    if selection.policy == "last":
        return [c.checkpoint for c in candidates if not c.checkpoint.averaged][-1]
    return candidates[-1].checkpoint


def rule(selection: Selection, taken: int, *, frozen: bool = False) -> str:
    """States the policy in words.

    Args:
        taken: checkpoints that a mean was made of.
        frozen: whether their BatchNorm was, so that its statistics stay what they were.
    """
    statistics = "kept, as they were frozen" if frozen else "estimated anew"
    return RULES[selection.policy].format(taken, statistics)
