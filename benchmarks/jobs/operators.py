"""Run as a stage: times single layers on stock or native operators, with their gradients."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import numpy as np
from mindspore import Tensor, nn, ops

from benchmarks.jobs.requests import OperatorRow, OperatorsJob, OperatorsTiming
from benchmarks.rounds import peak_mb, timed
from mixnet_core.model.device import use_device
from mixnet_core.model.layers import PlainLayers
from mixnet_core.model.native_layers import NativeLayers
from mixnet_core.model.variants import FLAVOURS
from mixnet_core.processes.child import main


class WithGradients(nn.Cell):
    """x -> the layer's output, and gradients of its sum: of x where asked, and of parameters."""

    def __init__(self, layer: nn.Cell, *, of_input: bool) -> None:
        # With prefixes the layer's parameters would be renamed.
        super().__init__(auto_prefix=False)
        self.layer = layer
        parameters = list(layer.trainable_params())
        self.gradient = ops.value_and_grad(layer, 0 if of_input else None, parameters)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.gradient(x)


def time_rows(job: OperatorsJob) -> OperatorsTiming:
    use_device("CPU")
    flavour = FLAVOURS["mindcv"]
    make = NativeLayers(flavour) if job.operators == "native" else PlainLayers(flavour)
    timing = OperatorsTiming(forward=[], both=[], shapes=[], sums=[], peak_mb=0)
    for row in job.rows:
        draw = np.random.default_rng(0)
        channels = 3 if row.layer == "stem" else row.channels
        shape = (job.batch, channels, row.plane, row.plane)
        x = Tensor(draw.standard_normal(shape).astype(np.float32))
        layer = _layer(row, make).set_train()
        for parameter in layer.trainable_params():
            values = draw.uniform(-1, 1, parameter.shape).astype(np.float32)
            parameter.set_data(Tensor(values))
        timing.forward.append(_milliseconds(layer, x, job.seconds))
        # Nobody asks for gradients of images.
        gradients = WithGradients(layer, of_input=row.layer != "stem").set_train()
        timing.both.append(_milliseconds(gradients, x, job.seconds))
        found = list(_flat(gradients(x)))
        timing.shapes.append(list(found[0].shape))
        timing.sums.append([float(np.abs(f.asnumpy().astype(np.float64)).sum()) for f in found])
    return timing.model_copy(update={"peak_mb": peak_mb()})


def _flat(tree: object) -> Iterator[Tensor]:
    if isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from _flat(branch)
    else:
        yield tree


def _layer(row: OperatorRow, make: PlainLayers) -> nn.Cell:
    if row.layer == "depthwise":
        return make.mixed_depthwise(row.channels, row.kernels, row.stride)
    if row.layer == "stem":
        return make.stem_conv(3, row.channels, row.stride)
    return nn.SequentialCell(make.norm_act(row.channels, row.activation))


def _milliseconds(cell: nn.Cell, x: Tensor, seconds: float) -> float:
    """The median call; compiling is left out, and so is the first call of several."""
    cell.compile(x)
    taken = timed(_call(cell, x), least=1, seconds=seconds)
    return 1000 * statistics.median(taken[1:] or taken)


def _call(cell: nn.Cell, x: Tensor) -> Callable[[], object]:
    # In graph mode a call on a CPU returns when everything has been computed.
    return lambda: cell(x)


if __name__ == "__main__":
    raise SystemExit(main(time_rows, OperatorsJob))
