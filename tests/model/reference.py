"""What MindCV's and timm's networks hold and answer; see data/README.md."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


def reference(system: str, variant: str) -> dict[str, Any]:
    """Its facts, the tensors in MindSpore's order."""
    facts = json.loads((DATA / f"{system}_mixnet_{variant}.json").read_text())
    if system == "timm":
        facts["tensors"] = _statistics_first(facts["tensors"])
    return facts


def fill(net: nn.Cell, tensors: list[Any]) -> None:
    """Gives the net's parameters, in order, the weights that the tensors' names stand for."""
    for parameter, (name, shape, kind) in zip(net.get_parameters(), tensors, strict=True):
        parameter.set_data(Tensor(weight(name, shape, kind)))


def weight(name: str, shape: list[int], kind: str) -> NDArray[np.float32]:
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if kind in ("bn_scale", "var"):
        values = 0.5 + random.rand(*shape)
    elif kind == "conv":
        values = random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif kind == "dense":
        values = random.randn(*shape) * np.sqrt(1 / shape[1])
    else:
        values = 0.1 * random.randn(*shape)
    return values.astype(np.float32)


def images() -> NDArray[np.float32]:
    return np.random.RandomState(0).randn(2, 3, 224, 224).astype(np.float32)


def has_avx512() -> bool:
    """Returns whether this CPU says that it has; one that says nothing has not."""
    told = Path("/proc/cpuinfo")
    return told.is_file() and " avx512f " in told.read_text()


def _statistics_first(tensors: list[Any]) -> list[Any]:
    """PyTorch lists a BatchNorm's scale, shift, mean, variance; MindSpore the last two first."""
    ordered, rest = [], list(tensors)
    while rest:
        if rest[0][2] == "bn_scale":
            ordered += [*rest[2:4], *rest[:2]]
            del rest[:4]
        else:
            ordered.append(rest.pop(0))
    return ordered
