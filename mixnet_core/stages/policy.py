"""Which of a run's checkpoints is taken: what every policy says, and the rule that it states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from mixnet_core.checkpoints.retention import better
from mixnet_core.recipe.choices import Selection
from mixnet_core.recipe.kinds import POLICIES
from mixnet_core.recipe.sections import Training
from mixnet_core.runs.values import Candidate, Checkpoint

TIES = "of equals the lower loss, then the later step"


class Policy(ABC):
    """A policy as one file of `stages.policies` offers it.

    Attributes:
        rule: in words; {} stands for how many checkpoints a mean was made of, and for what became
            of its BatchNorm statistics.
    """

    rule: ClassVar[str]

    def check(self, training: Training) -> None:
        """Raises ValueError where a recipe's training leaves nothing for it to take."""
        return

    def best(self, selection: Selection) -> int:
        """Says how many of the best on the select split it takes; 0 where it goes by no figures."""
        return 0

    def last(self, selection: Selection) -> int:
        """Says how many of the last checkpoints it takes, at least."""
        return 1

    def averages(self) -> bool:
        """Says whether it chooses among moving averages too."""
        return False

    def members(self, selection: Selection, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Returns what a mean is to be made of; empty where the policy makes none."""
        return ()

    @abstractmethod
    def choose(self, candidates: Sequence[Candidate]) -> Checkpoint:
        """Returns the one that it takes.

        Args:
            candidates: the oldest first; where it makes a mean, that one at the end.

        Raises:
            InputError: there is none that it could take.
        """


def members(selection: Selection, candidates: Sequence[Candidate]) -> tuple[Checkpoint, ...]:
    """Returns what a mean is to be made of, the oldest first; empty where the policy makes none."""
    found = _policy(selection).members(selection, as_trained(candidates))
    taken = (candidate.checkpoint for candidate in found)
    return tuple(sorted(taken, key=lambda checkpoint: checkpoint.step))


def choose(selection: Selection, candidates: Sequence[Candidate]) -> Checkpoint:
    """Returns the checkpoint that the recipe's policy takes; arguments as `Policy.choose`.

    Raises:
        InputError: there is none that it could take.
    """
    return _policy(selection).choose(candidates)


def rule(selection: Selection, taken: int, *, frozen: bool = False) -> str:
    """States the policy in words.

    Args:
        taken: checkpoints that a mean was made of.
        frozen: whether their BatchNorm was, so that its statistics stay what they were.
    """
    statistics = "kept, as they were frozen" if frozen else "estimated anew"
    return _policy(selection).rule.format(taken, statistics)


def as_trained(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Returns those that are no moving averages."""
    return [candidate for candidate in candidates if not candidate.checkpoint.averaged]


def order(candidate: Candidate) -> tuple[int, float, int]:
    """Returns what candidates are ordered by, the best the greatest."""
    return better(candidate.score, candidate.checkpoint.step)


def _policy(selection: Selection) -> Policy:
    found: Policy = POLICIES.load(selection.policy)
    return found
