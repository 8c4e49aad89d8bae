"""Which of how many workers this process is, and the device it computes on."""

from __future__ import annotations

from dataclasses import dataclass

import mindspore
from mindspore import communication

from mixnet_core.errors import MachineError
from mixnet_core.model.device import use_device
from mixnet_core.recipe import Recipe


@dataclass(frozen=True)
class Ranks:
    """rank is 0..count-1; rank 0 writes what is written once."""

    rank: int
    count: int

    @property
    def writes(self) -> bool:
        return self.rank == 0


def join_ranks(recipe: Recipe) -> Ranks:
    """Sets the device and joins the data-parallel group, blocking until every worker is there.

    Raises:
        MachineError: the device is not there, or the number of workers is not the recipe's.
    """
    use_device(recipe.devices.target)
    if recipe.devices.ranks == 1:
        return Ranks(0, 1)
    communication.init()
    count = int(communication.get_group_size())
    if count != recipe.devices.ranks:
        raise MachineError(f"{count} workers were started, the recipe says {recipe.devices.ranks}")
    mindspore.set_auto_parallel_context(
        parallel_mode=mindspore.ParallelMode.DATA_PARALLEL, gradients_mean=True, device_num=count
    )
    return Ranks(int(communication.get_rank()), count)
