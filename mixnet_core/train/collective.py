"""One rank of a trial of the link: the all-reduce of a step's gradients, and nothing else.

    python -m mixnet_core.train.collective ATTEMPT_FOLDER

Rank r brings r + 1 in every element: the sum over all ranks is known.
"""

from __future__ import annotations

import statistics
import time

import mindspore
import numpy as np
from mindspore import nn, ops

from mixnet_core.errors import IntegrityError
from mixnet_core.model.ranks import join_ranks
from mixnet_core.processes.child import beat, main
from mixnet_core.processes.requests import CollectiveRequest, CollectiveResult


class _Reduce(nn.Cell):
    """Sums a tensor over all ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce()

    def construct(self, values: mindspore.Tensor) -> mindspore.Tensor:
        return self.all_reduce(values)


def reduce(request: CollectiveRequest) -> CollectiveResult:
    """Makes the all-reduce a few times; every rank of the job calls it.

    Raises:
        MachineError: the device is not there, or not as many ranks were started.
        IntegrityError: a sum is wrong.
    """
    ranks = join_ranks(request.target, request.ranks, each=1)
    network = _Reduce()
    own = mindspore.Tensor(np.full(request.elements, ranks.rank + 1, np.float32))
    expected = np.float32(ranks.count * (ranks.count + 1) // 2)
    seconds: list[float] = []
    beat()
    # The first one is not timed: it compiles.
    for _ in range(request.repeats + 1):
        began = time.perf_counter()
        reduced = network(own).asnumpy()
        seconds.append(time.perf_counter() - began)
        beat()
        if not (reduced == expected).all():
            raise IntegrityError(
                f"the all-reduce over {ranks.count} hosts is wrong: rank {ranks.rank} got "
                f"{reduced.min():g} to {reduced.max():g}, expected {expected:g}; look at its "
                "memory, device and network"
            )
    return CollectiveResult(seconds=statistics.median(seconds[1:]))


if __name__ == "__main__":
    raise SystemExit(main(reduce, CollectiveRequest))
