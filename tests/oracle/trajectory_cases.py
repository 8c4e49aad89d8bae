"""What is trained to compare trajectories: cases, and their recipes, rates, batches, starts.

Chosen so that every formula shows and float32's rounding does not:

- Rates are so low that twelve steps stay far from chaos (at 0.05 training this small is chaotic).
  Differences are measured by how far a parameter moved, so a low rate hides nothing.
- The decay, 2, makes decay and gradient move a parameter about equally far, whatever the rate.
- Parameters start at draws of their own: BatchNorm's scales off 1, shifts and biases off 0, for
  there decay would not show; convolutions at 1 / sqrt(fan-in), at which the first gradient is
  about 20 long. From MindCV's initial weights, whose depthwise ones are sqrt(C) smaller, it is 400.
- The rate differs from step to step and begins at 0, so a step late or early shows.
- beta1 is 0.8, which is nobody's default.
- 64 pixels leave the last BatchNorms 16 or 32 values a channel: biased and unbiased differ.
- AdamW clips to so short a gradient that its epsilon counts beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import mindspore
import numpy as np
from numpy.typing import NDArray

from mixnet_core.model.mixnet import build_model
from mixnet_core.model.native.choice import Operators
from mixnet_core.model.variants import VariantName
from mixnet_core.recipe.recipe import Recipe, load_recipe

STEPS, BATCH, PIXELS, CLASSES = 12, 8, 64, 10
SMOOTHING, EMA, MOMENTUM, DECAY = 0.1, 0.99, 0.8, 2.0
RATES = {"momentum": 2e-4, "nesterov": 2e-4, "adamw": 5e-5}
CLIPS = {"momentum": 5.0, "nesterov": 5.0, "adamw": 0.01}
VARIANTS: tuple[VariantName, ...] = ("s", "m", "l")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A way to train; `parts` is how many micro-batches a step has."""

    variant: VariantName
    optimizer: str
    parts: int
    clips: bool
    operators: Operators = "native"

    def __str__(self) -> str:
        words = [self.variant, self.optimizer, f"{self.parts} part{'s' * (self.parts > 1)}"]
        words += ["clipped"] * self.clips
        words += ["plain operators"] * (self.operators == "plain")
        return ", ".join(words)

    @property
    def clip_norm(self) -> float | None:
        return CLIPS[self.optimizer] if self.clips else None

    @property
    def averaged_before(self) -> int:
        """How many updates its averages have had: at first, and in the middle of the warm-up."""
        return 0 if self.parts == 1 else 2000


CASES = tuple(
    Case(variant, optimizer, parts, clips)
    for variant, optimizer, parts, clips in product(
        VARIANTS, ("momentum", "nesterov", "adamw"), (1, 2), (False, True)
    )
)
# Every pair of values of any two of the four is in one of them; the last has plain operators.
COVERING = (
    Case("s", "momentum", 1, False),
    Case("s", "nesterov", 2, True),
    Case("s", "adamw", 1, True),
    Case("m", "momentum", 2, True),
    Case("m", "nesterov", 1, False),
    Case("m", "adamw", 2, False),
    Case("l", "momentum", 1, True),
    Case("l", "nesterov", 1, True),
    Case("l", "adamw", 2, False),
    Case("s", "momentum", 2, False, "plain"),
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
            "optimizer.momentum": MOMENTUM,
            "optimizer.weight_decay": DECAY,
            "optimizer.decay_norm_and_bias": True,
            "optimizer.clip_norm": case.clip_norm,
            "training.ema_decay": EMA,
            "training.global_batch": BATCH,
            "training.label_smoothing": SMOOTHING,
            "devices.ranks": 1,
            "devices.micro_batch": BATCH // case.parts,
        },
    )


def rates_of(case: Case) -> list[float]:
    """Three steps of warm-up from 0, then most of half a cosine."""
    shape = [min(t / 3, (1 + math.cos(math.pi * (t - 3) / STEPS)) / 2) for t in range(STEPS)]
    return [RATES[case.optimizer] * share for share in shape]


def batches(case: Case) -> Arrays:
    """Draws images, labels and the shares of mixed batches: (steps, parts, ...)."""
    draw, size = np.random.default_rng(5), BATCH // case.parts
    images = draw.standard_normal((STEPS, case.parts, size, 3, PIXELS, PIXELS))
    shares = draw.uniform(0.5, 1, (STEPS, case.parts))
    shares[draw.random(shares.shape) < 0.5] = 1
    return {
        "images": images.astype(np.float32),
        "labels": draw.integers(0, CLASSES, (STEPS, case.parts, size)).astype(np.int32),
        "shares": shares.astype(np.float32),
    }


def start_of(case: Case) -> Arrays:
    """Draws each parameter and statistic of the network, by name."""
    # Only names and shapes are taken of it.
    mindspore.set_seed(1)
    net = build_model(case.variant, CLASSES, flavour="mindcv")
    draw = np.random.default_rng(7)
    start = {}
    for parameter in net.get_parameters():
        shape, kind = parameter.shape, parameter.name.rpartition(".")[2]
        if len(shape) > 1:
            values = draw.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        elif kind in ("gamma", "moving_variance"):
            values = draw.uniform(0.5, 1.5, shape)
        else:
            values = draw.normal(0, 0.3, shape)
        start[parameter.name] = values.astype(np.float32)
    return start
