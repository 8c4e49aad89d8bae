"""What every further demand of acceptance does: its key in the recipe, its verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from mixnet_core.evaluate.counting import Judged
from mixnet_core.recipe.choices import Acceptance
from mixnet_core.recipe.kinds import DEMANDS
from mixnet_core.runs.values import Check, PreparedDataset


class Demand(ABC):
    """A demand as one file of `stages.demands` offers it; the file's name is its key.

    It judges the dataset or the predictions, whichever it is about.
    """

    @abstractmethod
    def check(self, value: object) -> None:
        """Raises ValueError where a recipe demands something impossible."""

    def judge_images(self, value: object, dataset: PreparedDataset) -> Check | None:
        """Judges the images, which `prepare` does already; None: it is about predictions.

        Args:
            value: what the recipe demands.
        """
        return None

    def judge(self, value: object, rows: Judged, classes: tuple[str, ...]) -> Check | None:
        """Judges what was predicted of the val split; None: it is about the images.

        Args:
            value: what the recipe demands.
            rows: (N,), a row per image; see `evaluate.counting.JUDGED`.
            classes: names in label order.
        """
        return None


def further_demands(wanted: Acceptance) -> dict[str, object]:
    """Returns what a recipe demands by files of `stages.demands`: key -> value."""
    return {key: value for key, value in (wanted.model_extra or {}).items() if value is not None}


def judged_demands(wanted: Acceptance, rows: Judged, classes: tuple[str, ...]) -> tuple[Check, ...]:
    """Judges predictions by a recipe's further demands; arguments as `Demand.judge`."""
    found = (demand.judge(value, rows, classes) for demand, value in _demands(wanted))
    return tuple(check for check in found if check is not None)


def judged_images(wanted: Acceptance, dataset: PreparedDataset) -> tuple[Check, ...]:
    """Judges a dataset by a recipe's further demands."""
    found = (demand.judge_images(value, dataset) for demand, value in _demands(wanted))
    return tuple(check for check in found if check is not None)


def _demands(wanted: Acceptance) -> Iterator[tuple[Demand, object]]:
    for key, value in further_demands(wanted).items():
        yield DEMANDS.load(key), value
