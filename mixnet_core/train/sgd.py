"""SGD with momentum, or with Nesterov's (arXiv:1212.0901), on MindSpore's fused kernels.

    v = mu v + (g + decay p)
    p = p - rate v                          momentum
    p = p - rate (g + decay p + mu v)       Nesterov's

MindSpore's `nn.Momentum` has an option for the second, which its CPU kernel ignores; the kernel of
`nn.SGD`, which MindCV takes for it, does not. Both classes decide by a parameter's name whether it
decays, and make a group of rates for each pair of factors, which takes a graph 15 s to compile.
"""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import Parameter, Tensor, nn, ops

_momentum_moved = ops.MultitypeFuncGraph("momentum_moved")
_nesterov_moved = ops.MultitypeFuncGraph("nesterov_moved")
_momentum = ops.ApplyMomentum()
_nesterov = ops.SGD(dampening=0.0, weight_decay=0.0, nesterov=True)


@_momentum_moved.register("Tensor", "Tensor", "Number", "Number", "Tensor", "Tensor", "Tensor")
def _move(
    rate: Tensor,
    mu: Tensor,
    rate_factor: float,
    decay: float,
    parameter: Parameter,
    velocity: Parameter,
    gradient: Tensor,
) -> Any:
    if decay != 0.0:
        gradient = gradient + parameter * decay
    if rate_factor != 1.0:
        rate = rate * rate_factor
    return _momentum(parameter, velocity, rate, gradient, mu)


@_nesterov_moved.register(
    "Tensor", "Tensor", "Number", "Number", "Tensor", "Tensor", "Tensor", "Tensor"
)
def _move_ahead(
    rate: Tensor,
    mu: Tensor,
    rate_factor: float,
    decay: float,
    parameter: Parameter,
    velocity: Parameter,
    stat: Parameter,
    gradient: Tensor,
) -> Any:
    if decay != 0.0:
        gradient = gradient + parameter * decay
    if rate_factor != 1.0:
        rate = rate * rate_factor
    return _nesterov(parameter, gradient, rate, velocity, mu, stat)


class Sgd(nn.Optimizer):
    """Moves the parameters by one step: (gradients,) -> True.

    Args:
        parameters: each is moved, whatever its name.
        rates: the learning rate of every step; there must be no more steps.
        rate_factors: for each parameter, what its learning rate is multiplied by.
        decays: for each parameter, its weight decay.
        momentum: mu, the share of the velocity that is kept from step to step.
        nesterov: needs a momentum above 0.
    """

    def __init__(
        self,
        parameters: list[Parameter],
        *,
        rates: list[float],
        rate_factors: list[float],
        decays: list[float],
        momentum: float,
        nesterov: bool,
    ) -> None:
        super().__init__(learning_rate=rates, parameters=parameters)
        self.rate_factors, self.decays = tuple(rate_factors), tuple(decays)
        # MindSpore's attribute, which would otherwise hold what its rule by names says.
        self.decay_flags = tuple(decay > 0 for decay in decays)
        self.mu = Tensor(momentum, mindspore.float32)
        self.nesterov = nesterov
        self.moments = self._parameters.clone(prefix="moments", init="zeros")
        if nesterov:
            # Anything but 0 tells the kernel that there is no velocity yet; it sets 0 itself then.
            self.stat = self._parameters.clone(prefix="stat", init="ones")

    def construct(self, gradients: Any) -> Tensor:
        rate = self.get_lr()
        counted = self.assignadd(self.global_step, self.global_step_increase_tensor)
        if self.nesterov:
            moved = self.hyper_map(
                ops.partial(_nesterov_moved, rate, self.mu),
                self.rate_factors,
                self.decays,
                self._parameters,
                self.moments,
                self.stat,
                gradients,
            )
        else:
            moved = self.hyper_map(
                ops.partial(_momentum_moved, rate, self.mu),
                self.rate_factors,
                self.decays,
                self._parameters,
                self.moments,
                gradients,
            )
        return ops.depend(Tensor(True), (counted, moved))
