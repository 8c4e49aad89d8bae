"""A stage whose ranks join and sum their numbers through MindSpore."""

from __future__ import annotations

import os
import signal

import mindspore
import numpy as np
from mindspore import communication, nn, ops
from pydantic import BaseModel

from mixnet_core.processes import child
from tests.processes.programs.acts import Act


class Total(BaseModel):
    total: float
    ranks: int


class Sum(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.reduce = ops.AllReduce()

    def construct(self, x):
        return self.reduce(x)


def total(request: Act) -> Total:
    """rank + 1 summed over the ranks; then, if asked, one rank dies or stops, the others go on."""
    mindspore.set_device("CPU")
    communication.init()
    sum_over_ranks = Sum()
    number = mindspore.Tensor(np.float32([communication.get_rank() + 1]))
    result = float(sum_over_ranks(number).asnumpy()[0])
    ends = {"die": signal.SIGKILL, "stop": signal.SIGSTOP}
    if request.name in ends:
        if communication.get_rank() == request.rank:
            os.kill(os.getpid(), ends[request.name])
        while True:
            sum_over_ranks(number)
    return Total(total=result, ranks=communication.get_group_size())


if __name__ == "__main__":
    raise SystemExit(child.main(total, Act))
