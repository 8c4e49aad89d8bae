"""The recipe's optimizer with its learning rate per step."""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import Parameter, Tensor, nn, ops

from mixnet_core.recipe import Recipe

_BETA2 = 0.999
# Depths of the layers after the blocks, whose number differs.
_HEAD, _CLASSIFIER = 1 << 20, 1 << 21


def build_optimizer(net: nn.Cell, recipe: Recipe, rates: list[float]) -> nn.Optimizer:
    """Momentum SGD, or AdamW (arXiv:1711.05101, beta2 0.999), over the trainable parameters.

    Args:
        net: of its parameters' names only MixNet's are told apart by `optimizer.layer_decay`.
        rates: the learning rate of every step.
    """
    if recipe.optimizer.name == "adamw":
        return _adamw(net, recipe, rates)
    settings = recipe.optimizer
    return nn.Momentum(
        _groups(net, recipe, rates, settings.weight_decay),
        learning_rate=rates,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        use_nesterov=settings.nesterov,
    )


def lr_factors(parameters: list[Parameter], decay: float) -> list[float]:
    """What each parameter's learning rate is multiplied by: `decay` to the power of how many layers
    lie between it and the classifier (discriminative fine-tuning, arXiv:1801.06146, section 3.1).

    Stem, each block, head and classifier are one layer each.
    """
    depths = [_depth(parameter.name) for parameter in parameters]
    blocks = max((depth for depth in depths if depth < _HEAD), default=0)
    last = blocks + 2
    place = {_HEAD: blocks + 1, _CLASSIFIER: last}
    return [decay ** (last - place.get(depth, depth)) for depth in depths]


def _adamw(net: nn.Cell, recipe: Recipe, rates: list[float]) -> nn.Optimizer:
    """MindSpore's AdamWeightDecay lacks Adam's bias correction, without which the first hundred
    updates are three times too large. It is put into the rates here, and taken out of the decay,
    which MindSpore multiplies by them.
    """
    settings = recipe.optimizer
    corrections = [
        (1 - _BETA2**step) ** 0.5 / (1 - settings.momentum**step)
        for step in range(1, len(rates) + 1)
    ]
    decay = _PerStep([settings.weight_decay / correction for correction in corrections])
    corrected = [rate * correction for rate, correction in zip(rates, corrections, strict=True)]
    return nn.AdamWeightDecay(
        _groups(net, recipe, corrected, decay),
        learning_rate=corrected,
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


def _groups(net: nn.Cell, recipe: Recipe, rates: list[float], weight_decay: Any) -> Any:
    """The trainable parameters, in groups where their rates or decays differ."""
    settings = recipe.optimizer
    parameters = net.trainable_params()
    factors = lr_factors(parameters, settings.layer_decay)
    grouped: dict[tuple[float, bool], list[Parameter]] = {}
    for parameter, factor in zip(parameters, factors, strict=True):
        # BatchNorm's and biases are the one-dimensional ones.
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


def _depth(name: str) -> int:
    first, _, rest = name.partition(".")
    if first == "layers":
        return int(rest.partition(".")[0]) + 1
    return {"stem_conv": 0, "head_conv": _HEAD}.get(first, _CLASSIFIER)
