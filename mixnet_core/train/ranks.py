"""Which of how many workers this process is, and the device it computes on."""

from __future__ import annotations

import os
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
    if recipe.devices.target == "CPU":
        _keep_to_own_cores(recipe.devices.ranks)
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


def _keep_to_own_cores(ranks: int) -> None:
    """Gives this rank an equal share of the cores, before MindSpore starts its threads.

    Its threads wait by spinning: those of one rank would take the core on which another one
    computes. MixNet-S, two ranks on two cores: 56 instead of 40 img/s.
    """
    cores = sorted(os.sched_getaffinity(0))
    rank = int(os.environ.get("RANK_ID", "0"))
    share = cores[rank * len(cores) // ranks : (rank + 1) * len(cores) // ranks]
    if share:
        os.sched_setaffinity(0, share)
