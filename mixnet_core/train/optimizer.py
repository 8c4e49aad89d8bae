"""The recipe's optimizer with its learning rate per step."""

from __future__ import annotations

from typing import Any

from mindspore import nn

from mixnet_core.recipe import Recipe


def build_optimizer(net: nn.Cell, recipe: Recipe, rates: list[float]) -> nn.Optimizer:
    """Momentum SGD or AdamW over all trainable parameters of `net`, one learning rate a step."""
    settings = recipe.optimizer
    groups = _groups(net, settings.weight_decay, settings.decay_norm_and_bias)
    if settings.name == "adamw":
        return nn.AdamWeightDecay(
            groups, learning_rate=rates, beta1=settings.momentum, weight_decay=settings.weight_decay
        )
    return nn.Momentum(
        groups,
        learning_rate=rates,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        use_nesterov=settings.nesterov,
    )


def _groups(net: nn.Cell, weight_decay: float, decay_norm_and_bias: bool) -> Any:
    parameters = net.trainable_params()
    if decay_norm_and_bias or weight_decay == 0:
        return parameters
    # BatchNorm's and biases are the one-dimensional ones.
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        {"order_params": parameters},
    ]
