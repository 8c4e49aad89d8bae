"""The optimizer as it was under rules 1 (`mixnet_core.recipe.rules`), for runs that began by them.

A run goes on bit for bit only if what it began with stays, its faults included: where all
parameters have one rate and one decay they are handed to MindSpore as a plain list, of which it
exempts every name with `beta` or `gamma` from decay; its CPU kernel of `nn.Momentum` ignores
`use_nesterov`; and with the bias correction folded into AdamW's rate, epsilon stands divided by
sqrt(1 - beta2^t).
"""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import Parameter, Tensor, nn, ops

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.train.adamw import BETA2, EPSILON

# The optimizers that there were then.
OF_RULES_1 = ("momentum", "adamw")


def build_optimizer_of_rules_1(
    parameters: list[Parameter], recipe: Recipe, rates: list[float], factors: list[float]
) -> nn.Optimizer:
    """Builds what `optimizer.build_optimizer` built before there were rules 2.

    Args:
        parameters: the trainable ones.
        recipe: says the optimizer and its settings.
        rates: the learning rate of every step.
        factors: for each parameter, what its learning rate is multiplied by.
    """
    settings = recipe.optimizer
    if settings.name == "adamw":
        return _adamw(parameters, recipe, rates, factors)
    return nn.Momentum(
        _groups(parameters, recipe, rates, factors, settings.weight_decay),
        learning_rate=rates,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        use_nesterov=settings.nesterov,
    )


def _adamw(
    parameters: list[Parameter], recipe: Recipe, rates: list[float], factors: list[float]
) -> nn.Optimizer:
    settings = recipe.optimizer
    corrections = [
        (1 - BETA2**step) ** 0.5 / (1 - settings.momentum**step)
        for step in range(1, len(rates) + 1)
    ]
    decay = _PerStep([settings.weight_decay / correction for correction in corrections])
    corrected = [rate * correction for rate, correction in zip(rates, corrections, strict=True)]
    return nn.AdamWeightDecay(
        _groups(parameters, recipe, corrected, factors, decay),
        learning_rate=corrected,
        beta1=settings.momentum,
        beta2=BETA2,
        eps=EPSILON,
        weight_decay=decay,
    )


class _PerStep(nn.Cell):
    """Looks up a step's value: (global_step,) -> scalar float32."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = Tensor(values, mindspore.float32)
        self.last = len(values) - 1

    def construct(self, global_step: Tensor) -> Tensor:
        step = ops.minimum(ops.reshape(global_step, ()), self.last)
        return ops.gather(self.values, step, 0)


def _groups(
    parameters: list[Parameter],
    recipe: Recipe,
    rates: list[float],
    factors: list[float],
    weight_decay: Any,
) -> Any:
    """Puts the parameters into groups only where their rates or decays differ."""
    settings = recipe.optimizer
    grouped: dict[tuple[float, bool], list[Parameter]] = {}
    for parameter, factor in zip(parameters, factors, strict=True):
        decays = settings.decay_norm_and_bias or parameter.ndim > 1 or not settings.weight_decay
        grouped.setdefault((factor, decays), []).append(parameter)
    if len(grouped) == 1:
        return parameters
    rows: list[dict[str, Any]] = [
        {
            "params": members,
            "lr": [rate * factor for rate in rates],
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (factor, decays), members in grouped.items()
    ]
    return [*rows, {"order_params": parameters}]
