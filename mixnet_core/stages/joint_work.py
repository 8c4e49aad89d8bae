"""What several hosts do together, and what each has to be told alike for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import RunDir


@dataclass(frozen=True)
class Work:
    """Says what hosts do together, and how it goes on without some.

    Attributes:
        stage: its name.
        module: their ranks run it.
        counts: with how many hosts it may be done, in order.
        join_seconds: a host that has not joined within is missing.
        without: what is said of missing ones, as in "training without {}".
        grace_seconds: what ranks that are asked to save have for it.
        counts_alone: as `processes.launch.join_job`.
        told: what all hosts have to have alike for it, besides `told_to`: JSON values.
    """

    stage: str
    module: str
    counts: Sequence[int]
    join_seconds: float
    without: str
    grace_seconds: float = 0.0
    counts_alone: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def training(cls, recipe: Recipe) -> Work:
        """Returns what training is, by what `devices.min_hosts` allows."""
        bits = "; without training.virtual_ranks its bits depend on that"
        said = "" if recipe.training.virtual_ranks else bits
        return cls(
            "train",
            "mixnet_core.train",
            recipe.host_counts,
            recipe.devices.join_seconds,
            "training without {} until back, as devices.min_hosts "
            f"{recipe.devices.min_hosts} allows{said}",
            recipe.devices.grace_seconds,
        )

    def most(self, hosts: int) -> int:
        """Returns with how many hosts to do it where so many are ready; 0: too few."""
        return max((count for count in self.counts if count <= hosts), default=0)


def told_to(recipe: Recipe, run: RunDir, ranks: HostRanks, work: Work) -> dict[str, Any]:
    """Returns what all hosts have to be told alike, for a comparison: JSON values."""
    return {
        "hosts": ranks.hosts,
        "ranks": ranks.each,
        "recipe": recipe.fingerprint[:8],
        "run": str(run.root),
        "mindspore": metadata.version("mindspore"),
        **work.told,
    }
