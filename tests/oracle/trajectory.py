"""Twelve steps of training here beside their formulas in float64, parameter by parameter.

    python -m tests.oracle.trajectory                     a Markdown table of all 36 cases
    python -m tests.oracle.trajectory s adamw             of those with these words
    python -m tests.oracle.trajectory --rules 1           by the optimizers of before
    python -m tests.oracle.trajectory --float32           PyTorch's float32 in this project's place
    python -m tests.oracle.trajectory --faults            formulas with a mistake in its place

MIXNET_ORACLE_PYTHON names the environment of `make oracle`, where `torch_training` computes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from mindspore import Tensor

from mixnet_core.data.augment.mix import MixDraw, soft_targets
from mixnet_core.model.device import use_device
from mixnet_core.model.mixnet import build_model
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.step import MicroBatch, TrainStep
from tests.oracle.trajectory_cases import (
    CASES,
    CLASSES,
    COVERING,
    DECAY,
    EMA,
    MOMENTUM,
    SMOOTHING,
    STEPS,
    Arrays,
    Case,
    batches,
    rates_of,
    recipe_of,
    start_of,
)

PYTHON = "MIXNET_ORACLE_PYTHON"
SCRIPT = Path(__file__).with_name("torch_training.py")
STATISTICS = ("moving_mean", "moving_variance")
# Each mistake of `torch_faults`, and the case that must show it.
FAULTS = {
    "NormsDoNotDecay": COVERING[0],
    "BiasesDoNotDecay": COVERING[0],
    "DecayIsAHundredthLess": COVERING[0],
    "DecayBesideTheGradient": COVERING[0],
    "RatesAStepLate": COVERING[0],
    "RateInTheVelocity": COVERING[0],
    "BiasedVarianceKept": COVERING[0],
    "StatisticsDecayByTheOtherShare": COVERING[0],
    "SmoothedOverTheOthers": COVERING[0],
    "AverageWithoutWarmUp": COVERING[0],
    "NesterovIsMomentum": COVERING[1],
    "Dampened": COVERING[1],
    "SumOverParts": COVERING[9],
    # Adam's quotient magnifies it; beside Nesterov it is 4.95 bounds off.
    "EachPartClipped": Case("s", "adamw", 2, True),
    "EachParameterClipped": COVERING[1],
    "NotClipped": COVERING[1],
    "WholeBatchNormalised": COVERING[1],
    "AveragesFollowTheWeightsBefore": COVERING[1],
    "EpsilonBesideUncorrectedRoot": COVERING[2],
    "FirstMomentUncorrected": COVERING[2],
    "DecayInTheGradient": COVERING[2],
    "BetaOfAdamsPaper": COVERING[2],
}


@dataclass(frozen=True)
class Differences:
    """How far two trajectories are apart after the last step.

    A parameter's difference is the root mean square of it, over that of how far the parameter is
    by the formulas from where it started.

    Attributes:
        loss: of the step whose losses differ most, relative.
        weight: of the parameter that differs most.
        median: of the parameter in the middle.
        statistic: of the moving mean or variance that differs most.
        average: of the average that differs most.
    """

    loss: float
    weight: float
    median: float
    statistic: float
    average: float

    def over(self, bounds: Differences) -> float:
        """Returns by which factor they exceed the bounds, at the place where they do so most."""
        pairs = zip(astuple(self), astuple(bounds), strict=True)
        return max(found / bound for found, bound in pairs)


# The median is what float32's rounding makes of twelve steps, with room. The worst may be far from
# it: a unit of a ReLU so near 0 that rounding decides its side changes a gradient by what no
# rounding of its own could, and AdamW makes small components of a gradient as large as any.
_SGD = Differences(loss=3e-4, weight=3e-2, median=5e-4, statistic=1e-3, average=3e-2)
BOUNDS = {
    "momentum": _SGD,
    "nesterov": _SGD,
    "adamw": Differences(loss=3e-4, weight=6e-2, median=2e-2, statistic=3e-3, average=6e-2),
}


@cache
def trained_here(case: Case, rules: int = 2) -> Arrays:
    """Returns "losses", "value/NAME" and "average/NAME" after the last step, in float32."""
    use_device("CPU")
    recipe, given, start = recipe_of(case, rules), batches(case), start_of(case)
    net = build_model(case.variant, CLASSES, flavour="mindcv", operators=case.operators)
    for parameter in net.get_parameters():
        parameter.set_data(Tensor(start[parameter.name]))
    net.set_train()
    step = TrainStep(net, build_optimizer(net, recipe, rates_of(case)), recipe)
    step.update.state()["ema_updates"].set_data(Tensor(np.float32(case.averaged_before)))
    losses = []
    for number in range(STEPS):
        rows = zip(*(given[kind][number] for kind in ("images", "labels", "shares")), strict=True)
        parts = []
        for images, labels, share in rows:
            drawn = None if share == 1 else MixDraw(float(share), None)
            targets = soft_targets(labels, CLASSES, SMOOTHING, drawn)
            parts.append(MicroBatch(Tensor(images), Tensor(targets)))
        loss, _ = step(parts)
        losses.append(float(loss.asnumpy()))
    values = list(net.get_parameters())
    found = {"losses": np.array(losses)}
    for parameter, average in zip(values, step.update.averages, strict=True):
        found[f"value/{parameter.name}"] = parameter.asnumpy().copy()
        found[f"average/{parameter.name}"] = average.asnumpy().copy()
    return found


@cache
def trained_by_formulas(case: Case, *, dtype: str = "float64", fault: str | None = None) -> Arrays:
    """Returns the same as `torch_training` computes it, and "norms" of the gradients."""
    described = {
        "variant": case.variant,
        "optimizer": case.optimizer,
        "momentum": MOMENTUM,
        "rates": rates_of(case),
        "decay": DECAY,
        "clip_norm": case.clip_norm,
        "smoothing": SMOOTHING,
        "ema_decay": EMA,
        "averaged_before": case.averaged_before,
        "dtype": dtype,
        "fault": fault,
    }
    starts = {f"start/{name}": values for name, values in start_of(case).items()}
    with tempfile.TemporaryDirectory() as folder:
        request, result = Path(folder) / "request.npz", Path(folder) / "result.npz"
        np.savez(request, case=json.dumps(described), **batches(case), **starts)
        subprocess.run(
            [os.environ[PYTHON], "-E", "-s", str(SCRIPT), str(request), str(result)],
            check=True,
            timeout=900,
        )
        with np.load(result) as found:
            return {name: found[name] for name in found.files}


def compared(case: Case, found: Arrays, expected: Arrays) -> Differences:
    """Compares every parameter, statistic and average but those of `moved_by_rounding`."""
    start = start_of(case)
    assert {key.partition("/")[2] for key in found if "/" in key} == start.keys()
    left_out = moved_by_rounding(case)

    def apart(kind: str, *, statistics: bool) -> Iterator[float]:
        for name in start:
            if name.endswith(STATISTICS) == statistics and name not in left_out:
                right = expected[f"{kind}/{name}"]
                difference = found[f"{kind}/{name}"] - right
                yield _rms(difference) / _rms(right - start[name])

    weights = list(apart("value", statistics=False))
    return Differences(
        loss=float(np.max(np.abs(found["losses"] / expected["losses"] - 1))),
        weight=max(weights),
        median=float(np.median(weights)),
        statistic=max(apart("value", statistics=True)),
        average=max(value for kind in (False, True) for value in apart("average", statistics=kind)),
    )


def moved_by_rounding(case: Case) -> set[str]:
    """Returns names of shifts whose gradient is 0 but for rounding, where AdamW magnifies that.

    What a block's last BatchNorm adds to a channel, the next BatchNorm takes away again, with or
    without a residual between them. The rounding's remains are as small as AdamW's epsilon, so they
    move such a shift by up to a rate a step, and nothing else. Clipped, they are smaller than that.
    """
    if case.optimizer != "adamw" or case.clips:
        return set()
    shifts: dict[str, str] = {}
    for name in start_of(case):
        if name.startswith("layers.") and name.endswith(".beta"):
            # In the network's order: the last one of a block stays.
            shifts[name.split(".")[1]] = name
    return set(shifts.values())


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*", help="of the cases to run")
    parser.add_argument("--rules", type=int, default=2)
    parser.add_argument("--covering", action="store_true")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--faults", action="store_true")
    options = parser.parse_args()
    _print("case", *Differences.__annotations__, "of bound")
    _print(*["---"] * 7)
    if options.faults:
        for fault, case in FAULTS.items():
            _print_row(f"{fault}: {case}", case, trained_by_formulas(case, fault=fault))
        return
    for case in COVERING if options.covering else CASES:
        if not set(options.words) <= {case.variant, case.optimizer, case.operators}:
            continue
        if options.float32:
            found = trained_by_formulas(case, dtype="float32")
        else:
            found = trained_here(case, options.rules)
        _print_row(str(case), case, found)


def _print_row(title: str, case: Case, found: Arrays) -> None:
    differences = compared(case, found, trained_by_formulas(case))
    factor = differences.over(BOUNDS[case.optimizer])
    _print(title, *(f"{value:.1e}" for value in astuple(differences)), f"{factor:.3g}")


def _print(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
