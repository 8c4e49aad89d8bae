"""What every further demand of acceptance does: its key in the recipe, its verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mixnet_core.evaluate.counting import Judged
from mixnet_core.recipe.choices import Acceptance
from mixnet_core.recipe.kinds import DEMANDS
from mixnet_core.runs.values import Check


class Demand(ABC):
    """A demand as one file of `stages.demands` offers it; the file's name is its key."""

    @abstractmethod
    def check(self, value: object) -> None:
        """Raises ValueError where a recipe demands something impossible."""

    @abstractmethod
    def judge(self, value: object, rows: Judged, classes: tuple[str, ...]) -> Check:
        """Judges what was predicted of the val split.

        Args:
            value: what the recipe demands.
            rows: (N,), a row per image; see `evaluate.counting.JUDGED`.
            classes: names in label order.
        """


def further_demands(wanted: Acceptance) -> dict[str, object]:
    """Returns what a recipe demands by files of `stages.demands`: key -> value."""
    return {key: value for key, value in (wanted.model_extra or {}).items() if value is not None}


def judged_demands(wanted: Acceptance, rows: Judged, classes: tuple[str, ...]) -> tuple[Check, ...]:
    """Judges all of a recipe's further demands, in their order; arguments as `Demand.judge`."""
    found = []
    for key, value in further_demands(wanted).items():
        demand: Demand = DEMANDS.load(key)
        found.append(demand.judge(value, rows, classes))
    return tuple(found)
