"""Computes one step in a process of its own: `python graph_child.py RUN_DIR keep|leave TARGET`.

The graph multiplies by the number in the run's recipe. Prints what `GraphCache` found and the
result for 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mindspore
from mindspore import Tensor, nn

from mixnet_core.model.ranks import Ranks
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.train.graph_cache import GraphCache


class Step(nn.Cell):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def construct(self, x: Tensor) -> Tensor:
        return x * self.factor


def main() -> None:
    run = RunDir(Path(sys.argv[1]))
    keep = sys.argv[2] == "keep"
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    mindspore.set_device("CPU")
    number = float(run.recipe.read_text())
    request = TrainRequest(
        recipe=load_recipe("digits", {"schedule.lr": number}),
        run_dir=str(run.root),
        dataset=PreparedDataset(root="/x", fingerprint="f", classes=("a",), counts={}),
        weights=None,
        threads=1,
        operators="plain",
    )
    with GraphCache(run, request, Ranks(0, 1), sys.argv[3]) as graph:
        result = Step(number)(Tensor([1.0], mindspore.float32))
        if keep:
            graph.keep()
    found = "warm" if graph.warm else "cold"
    sys.stdout.write(f"{found} {float(result.asnumpy()[0])}\n")


if __name__ == "__main__":
    main()
