"""The recipe's optimizer with its learning rate per step.

MindSpore's own optimizers, handed one plain list, exempt every parameter with `beta` or `gamma` in
its name from decay, which is all of BatchNorm's. Here each parameter's rate and decay are numbers
that stand beside it, from the recipe alone.
"""

from __future__ import annotations

from mindspore import Parameter, nn

from mixnet_core.recipe.kinds import OPTIMIZERS
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.train.optimizer_kind import OptimizerKind
from mixnet_core.train.optimizer_rules_1 import OF_RULES_1, build_optimizer_of_rules_1

# Depths of the layers after the blocks, whose number differs.
_HEAD, _CLASSIFIER = 1 << 20, 1 << 21


def build_optimizer(net: nn.Cell, recipe: Recipe, rates: list[float]) -> nn.Optimizer:
    """Builds the recipe's optimizer over the trainable parameters.

    Args:
        net: the network; `optimizer.layer_decay` tells layers apart by a MixNet's parameter names.
        recipe: says the optimizer's kind, and each parameter's rate and decay.
        rates: the learning rate of every step.
    """
    settings = recipe.optimizer
    parameters = net.trainable_params()
    factors = lr_factors(parameters, settings.layer_decay)
    # What came later than rules 2 has no older form.
    if not recipe.follows(2) and settings.name in OF_RULES_1:
        return build_optimizer_of_rules_1(parameters, recipe, rates, factors)
    decays = weight_decays(parameters, recipe)
    kind: OptimizerKind = OPTIMIZERS.load(settings.name)
    return kind.build(parameters, settings, rates=rates, rate_factors=factors, decays=decays)


def weight_decays(parameters: list[Parameter], recipe: Recipe) -> list[float]:
    """Returns each parameter's weight decay, by the recipe alone.

    BatchNorm's parameters and biases are the one-dimensional ones.

    Args:
        parameters: the trainable ones.
        recipe: says the decay, and whether those are exempt.
    """
    settings = recipe.optimizer
    return [
        settings.weight_decay if settings.decay_norm_and_bias or parameter.ndim > 1 else 0.0
        for parameter in parameters
    ]


def lr_factors(parameters: list[Parameter], decay: float) -> list[float]:
    """Returns what each parameter's learning rate is multiplied by.

    That is `decay` to the power of how many layers lie between the parameter and the classifier
    (discriminative fine-tuning, arXiv:1801.06146, section 3.1). Stem, each block, head and
    classifier are one layer each.

    Args:
        parameters: the trainable ones.
        decay: `optimizer.layer_decay`; 1.0 leaves every rate as it is.
    """
    depths = [_depth(parameter.name) for parameter in parameters]
    blocks = max((depth for depth in depths if depth < _HEAD), default=0)
    last = blocks + 2
    layer_numbers = {_HEAD: blocks + 1, _CLASSIFIER: last}
    return [decay ** (last - layer_numbers.get(depth, depth)) for depth in depths]


def _depth(name: str) -> int:
    first, _, rest = name.partition(".")
    if first == "layers":
        return int(rest.partition(".")[0]) + 1
    return {"stem_conv": 0, "head_conv": _HEAD}.get(first, _CLASSIFIER)
