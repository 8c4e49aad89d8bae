"""Which of how many ranks this process is, and the device it computes on."""

from __future__ import annotations

import os
from dataclasses import dataclass

import mindspore
from mindspore import communication

from mixnet_core.errors import MachineError
from mixnet_core.model.device import use_device


@dataclass(frozen=True)
class Ranks:
    """Says which of the processes that train together this one is.

    Attributes:
        rank: 0..count-1.
        count: how many there are.
    """

    rank: int
    count: int

    @property
    def writes(self) -> bool:
        """Says whether this rank writes what is written once."""
        return self.rank == 0


def join_ranks(target: str, count: int, *, each: int | None = None) -> Ranks:
    """Sets the device and joins the other ranks, blocking until every one is there.

    Args:
        target: the device, as `recipe.Devices.target`.
        count: how many ranks the recipe says.
        each: how many of them are on each host; None: all.

    Raises:
        MachineError: the device is not there, or not `count` ranks were started. Nothing has been
            written by then.
    """
    _expect_started(count)
    if target == "CPU":
        _keep_to_own_cores(each or count)
    use_device(target)
    if count == 1:
        return Ranks(0, 1)
    communication.init()
    found = int(communication.get_group_size())
    if found != count:
        raise MachineError(f"{found} ranks were started, the recipe says {count}")
    return Ranks(int(communication.get_rank()), count)


def average_gradients(ranks: Ranks) -> None:
    """Makes the training of several ranks data-parallel from now on.

    Args:
        ranks: as `join_ranks` returned them.
    """
    if ranks.count > 1:
        mindspore.set_auto_parallel_context(
            parallel_mode=mindspore.ParallelMode.DATA_PARALLEL,
            gradients_mean=True,
            device_num=ranks.count,
        )


def _expect_started(count: int) -> None:
    """Compares `count` with what msrun says in the environment; raises MachineError if they differ.

    Ranks that each take themselves for the only one would all be rank 0, and write the same files;
    one that waits for others that nobody started would wait for ever.
    """
    role, started = os.environ.get("MS_ROLE"), os.environ.get("MS_WORKER_NUM", "1")
    if role is None:
        started = os.environ.get("RANK_SIZE", "1") if count == 1 else "1"
        if int(os.environ.get("RANK_ID", "0")) >= count:
            started = "more"
    if started != str(count):
        raise MachineError(
            f"this is process {os.environ.get('RANK_ID', '0')} of {started} that were started, the "
            f"recipe says devices.ranks {count}: start as many as it says, or leave starting them "
            "to `mixnet train`"
        )


def _keep_to_own_cores(ranks: int) -> None:
    """Gives this rank an equal share of its host's cores, before MindSpore starts its threads.

    Its threads wait by spinning: those of one rank would take the core on which another one
    computes. MixNet-S, two ranks on two cores: 56 instead of 40 img/s.

    Args:
        ranks: of this host.
    """
    cores = sorted(os.sched_getaffinity(0))
    rank = int(os.environ.get("RANK_ID", "0")) % ranks
    share = cores[rank * len(cores) // ranks : (rank + 1) * len(cores) // ranks]
    if share:
        os.sched_setaffinity(0, share)
