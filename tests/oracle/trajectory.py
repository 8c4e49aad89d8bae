"""Twelve training steps of this project beside the formulas in float64, parameter by parameter.

`python -m tests.oracle.trajectory` prints all cases as a table; MIXNET_ORACLE_PYTHON names the
environment of `make oracle`. `--rules 1` has the optimizer of before, whose faults must show.

The rates are so low that float32's rounding stays small over twelve steps (at 0.05 training this
small is chaotic), the decay so high that a parameter that is spared it is far off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import build_model
from mixnet_core.recipe import Recipe, load_recipe
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.step import Part, TrainStep
from mixnet_core.values import Operators

PYTHON = "MIXNET_ORACLE_PYTHON"
SCRIPT = Path(__file__).parent / "torch_steps.py"
STEPS, BATCH, PIXELS, CLASSES = 12, 8, 64, 10
SMOOTHING, EMA = 0.1, 0.9
# Reached by three steps of warm-up from 0, as recipes have it.
PEAKS = {"momentum": 3e-7, "nesterov": 3e-7, "adamw": 5e-4}
DECAYS = {"momentum": 50.0, "nesterov": 50.0, "adamw": 0.5}
# Of how far a parameter moves by the formulas, in the median parameter: what moves less does so by
# rounding alone. A block's last BatchNorm, where the next layer's takes away what it adds, has a
# gradient of exactly 0.
STILL = 1e-3
# Shorter than any of these networks' first gradients.
CLIP = 0.5

# Of `Worst`: float32's rounding over twelve steps stays some five times below them.
BOUNDS = {"loss": 1e-4, "weight": 2e-2, "statistic": 1e-2, "average": 2e-2}

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A way to train; parts: micro-batches a step."""

    variant: str
    optimizer: str
    parts: int
    clips: bool
    operators: Operators = "native"

    def __str__(self) -> str:
        words = [self.variant, self.optimizer, f"{self.parts} part{'s' * (self.parts > 1)}"]
        words += ["clipped"] if self.clips else []
        words += ["plain operators"] if self.operators == "plain" else []
        return ", ".join(words)


@dataclass(frozen=True)
class Worst:
    """The largest differences.

    Attributes:
        loss: of a step's loss, relative.
        weight, average: over parameters, the root mean square of the difference over that of how
            far it moved from the start by the formulas.
        statistic: the same of moving means and variances.
        weight_name: of the worst one; still: how many were left out because they do not move.
    """

    loss: float
    weight: float
    statistic: float
    average: float
    weight_name: str
    still: int


CASES = tuple(
    Case(variant, optimizer, parts, clips)
    for variant, optimizer, parts, clips in product(
        "sml", ("momentum", "nesterov", "adamw"), (1, 2), (False, True)
    )
)


def recipe_of(case: Case, rules: int) -> Recipe:
    return load_recipe(
        "digits",
        {
            "rules": rules,
            "network.variant": case.variant,
            "network.stem_stride": 2,
            "optimizer.name": "adamw" if case.optimizer == "adamw" else "momentum",
            "optimizer.nesterov": case.optimizer == "nesterov",
            "optimizer.weight_decay": DECAYS[case.optimizer],
            "optimizer.clip_norm": CLIP if case.clips else None,
            "training.ema_decay": EMA,
            "training.global_batch": BATCH,
            "devices.ranks": 1,
            "devices.micro_batch": BATCH // case.parts,
        },
    )


def rates_of(case: Case) -> list[float]:
    return [PEAKS[case.optimizer] * min(1.0, step / 3) for step in range(STEPS)]


def batches(case: Case) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images (steps, parts, N, 3, S, S) and smoothed targets (steps, parts, N, classes)."""
    draw = np.random.default_rng(5)
    size = BATCH // case.parts
    images = draw.standard_normal((STEPS, BATCH, 3, PIXELS, PIXELS)).astype(np.float32)
    targets = np.full((STEPS, BATCH, CLASSES), SMOOTHING / CLASSES, np.float32)
    labels = draw.integers(0, CLASSES, (STEPS, BATCH))
    np.put_along_axis(targets, labels[..., None], 1 - SMOOTHING + SMOOTHING / CLASSES, 2)
    return (
        images.reshape(STEPS, case.parts, size, 3, PIXELS, PIXELS),
        targets.reshape(STEPS, case.parts, size, CLASSES),
    )


def ours(case: Case, rules: int) -> tuple[Arrays, Arrays]:
    """Weights at the start, and what the steps left: losses, w/NAME, a/NAME."""
    use_device("CPU")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    mindspore.set_seed(3)
    recipe = recipe_of(case, rules)
    net = build_model(
        case.variant, CLASSES, flavour="mindcv", stem_stride=2, operators=case.operators
    )
    net.set_train()
    start = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    step = TrainStep(net, build_optimizer(net, recipe, rates_of(case)), recipe)
    images, targets = batches(case)
    losses = []
    for number in range(STEPS):
        parts = [
            Part(Tensor(i), Tensor(t)) for i, t in zip(images[number], targets[number], strict=True)
        ]
        loss, _ = step(parts)
        losses.append(float(loss.asnumpy()))
    names = [p.name for p in net.get_parameters()]
    return start, {
        "losses": np.array(losses),
        **{f"w/{p.name}": p.asnumpy() for p in net.get_parameters()},
        **{f"a/{n}": p.asnumpy() for n, p in zip(names, step.update.averages, strict=True)},
    }


def theirs(case: Case, start: Arrays) -> Arrays:
    """The same by the formulas."""
    images, targets = batches(case)
    described = {
        "variant": case.variant,
        "classes": CLASSES,
        "optimizer": case.optimizer,
        "momentum": 0.9,
        "rates": rates_of(case),
        "decay": DECAYS[case.optimizer],
        "clip_norm": CLIP if case.clips else None,
        "ema_decay": EMA,
    }
    with tempfile.TemporaryDirectory() as folder:
        request, result = Path(folder) / "request.npz", Path(folder) / "result.npz"
        np.savez(
            request,
            case=json.dumps(described),
            images=images,
            targets=targets,
            **{f"w/{name}": value for name, value in start.items()},
        )
        # Not isolated: it finds the rows of data from where it lies.
        command = [os.environ[PYTHON], str(SCRIPT), str(request), str(result)]
        subprocess.run(command, check=True, timeout=600)
        with np.load(result) as found:
            return {name: found[name] for name in found.files}


def compared(case: Case, rules: int = 2) -> Worst:
    """Trains both ways from one start."""
    start, found = ours(case, rules)
    expected = theirs(case, start)
    assert found.keys() == expected.keys()

    def moved(key: str) -> float:
        """Root mean square."""
        return float(np.sqrt(np.mean((expected[key] - start[key[2:]]) ** 2)))

    def off(key: str) -> float:
        return float(np.sqrt(np.mean((found[key] - expected[key]) ** 2))) / moved(key)

    def worst(kind: str, *, statistics: bool) -> tuple[float, str, int]:
        ends = ("moving_mean", "moving_variance")
        keys = [key for key in found if key[:2] == kind and key.endswith(ends) == statistics]
        least = STILL * float(np.median([moved(key) for key in keys]))
        moving = {key: off(key) for key in keys if moved(key) > least}
        name = max(moving, key=lambda key: moving[key])
        return moving[name], name[2:], len(keys) - len(moving)

    weight, name, still = worst("w/", statistics=False)
    return Worst(
        loss=float(np.max(np.abs(found["losses"] / expected["losses"] - 1))),
        weight=weight,
        statistic=worst("w/", statistics=True)[0],
        average=max(worst("a/", statistics=kind)[0] for kind in (False, True)),
        weight_name=name,
        still=still,
    )


def main() -> None:
    rules = int(sys.argv[sys.argv.index("--rules") + 1]) if "--rules" in sys.argv else 2
    wanted = [word for word in sys.argv[1:] if word in ("s", "m", "l")] or ["s", "m", "l"]
    sys.stdout.write("| case | loss | weight | statistic | average | worst weight | still |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    for case in CASES:
        if case.variant not in wanted:
            continue
        w = compared(case, rules)
        figures = " | ".join(f"{x:.1e}" for x in (w.loss, w.weight, w.statistic, w.average))
        sys.stdout.write(f"| {case} | {figures} | `{w.weight_name}` | {w.still} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
