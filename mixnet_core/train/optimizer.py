"""The recipe's optimizer with its learning rate per step."""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import Tensor, nn, ops

from mixnet_core.recipe import Recipe
from mixnet_core.recipe_sections import Optimizer

_BETA2 = 0.999


def build_optimizer(net: nn.Cell, recipe: Recipe, rates: list[float]) -> nn.Optimizer:
    """Momentum SGD, or AdamW (arXiv:1711.05101, beta2 0.999), over the trainable parameters.

    Args:
        rates: the learning rate of every step.
    """
    settings = recipe.optimizer
    if settings.name == "adamw":
        return _adamw(net, settings, rates)
    return nn.Momentum(
        _groups(net, settings, settings.weight_decay),
        learning_rate=rates,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        use_nesterov=settings.nesterov,
    )


def _adamw(net: nn.Cell, settings: Optimizer, rates: list[float]) -> nn.Optimizer:
    """MindSpore's AdamWeightDecay lacks Adam's bias correction, without which the first hundred
    updates are three times too large. It is put into the rates here, and taken out of the decay,
    which MindSpore multiplies by them.
    """
    corrections = [
        (1 - _BETA2**step) ** 0.5 / (1 - settings.momentum**step)
        for step in range(1, len(rates) + 1)
    ]
    decay = _PerStep([settings.weight_decay / correction for correction in corrections])
    return nn.AdamWeightDecay(
        _groups(net, settings, decay),
        learning_rate=[
            rate * correction for rate, correction in zip(rates, corrections, strict=True)
        ],
        beta1=settings.momentum,
        beta2=_BETA2,
        eps=1e-8,
        weight_decay=decay,
    )


class _PerStep(nn.Cell):
    """(global_step,) -> that step's value, a scalar."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = Tensor(values, mindspore.float32)
        self.last = len(values) - 1

    def construct(self, global_step: Tensor) -> Tensor:
        step = ops.minimum(ops.reshape(global_step, ()), self.last)
        return ops.gather(self.values, step, 0)


def _groups(net: nn.Cell, settings: Optimizer, weight_decay: Any) -> Any:
    parameters = net.trainable_params()
    if settings.decay_norm_and_bias or settings.weight_decay == 0:
        return parameters
    # BatchNorm's and biases are the one-dimensional ones.
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        {"order_params": parameters},
    ]
