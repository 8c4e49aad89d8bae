"""AdamW with its formula's bias correction and epsilon, on MindSpore's fused kernel.

MindSpore's own `nn.AdamWeightDecay` has no bias correction, without which the first hundred updates
are three times too large. Its kernel computes

    m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
    p = p - rate (m / (sqrt(v) + epsilon) + decay p)

and the formula (arXiv:1711.05101, algorithm 2, as PyTorch has it), with a = 1 - beta1^t and
b = 1 - beta2^t for step t from 1, is

    p = p - rate ((m / a) / (sqrt(v / b) + epsilon) + decay p)

which is the kernel's with rate sqrt(b) / a, epsilon sqrt(b) and decay a / sqrt(b) in their places.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

BETA2, EPSILON = 0.999, 1e-8

_moved = ops.MultitypeFuncGraph("moved")
_kernel = ops.AdamWeightDecay()


@_moved.register(
    "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Number", "Number", "Tensor", "Tensor",
    "Tensor", "Tensor",
)  # fmt: skip
def _move(
    rate: Tensor,
    epsilon: Tensor,
    decay: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    rate_factor: float,
    decay_factor: float,
    parameter: Parameter,
    first_moment: Parameter,
    second_moment: Parameter,
    gradient: Tensor,
) -> Any:
    if rate_factor != 1.0:
        rate = rate * rate_factor
    return _kernel(
        parameter,
        first_moment,
        second_moment,
        rate,
        beta1,
        beta2,
        epsilon,
        decay * decay_factor,
        gradient,
    )


class AdamW(nn.Optimizer):
    """Moves the parameters by one step: (gradients,) -> True.

    Args:
        parameters: each is moved, whatever its name.
        rates: the learning rate of every step; there must be no more steps.
        rate_factors: for each parameter, what its learning rate is multiplied by.
        decays: for each parameter, its weight decay; multiplied by the rate.
        beta1: share of the first moment that is kept from step to step.
    """

    def __init__(
        self,
        parameters: list[Parameter],
        *,
        rates: list[float],
        rate_factors: list[float],
        decays: list[float],
        beta1: float,
    ) -> None:
        super().__init__(learning_rate=rates, parameters=parameters)
        self.moments1 = self._parameters.clone(prefix="adam_m", init="zeros")
        self.moments2 = self._parameters.clone(prefix="adam_v", init="zeros")
        self.rate_factors, self.decays = tuple(rate_factors), tuple(decays)
        # MindSpore's attribute, which would otherwise hold what its rule by names says.
        self.decay_flags = tuple(decay > 0 for decay in decays)
        steps = np.arange(1, len(rates) + 1, dtype=np.float64)
        a, b = 1 - beta1**steps, 1 - BETA2**steps
        self.step_rates = _values(np.sqrt(b) / a)
        self.step_epsilons = _values(EPSILON * np.sqrt(b))
        self.step_decays = _values(a / np.sqrt(b))
        self.beta1 = Tensor([beta1], mindspore.float32)
        self.beta2 = Tensor([BETA2], mindspore.float32)
        self.last = len(rates) - 1

    def construct(self, gradients: Any) -> Tensor:
        step = ops.minimum(ops.reshape(self.global_step, ()), self.last)
        rate = self.get_lr() * ops.gather(self.step_rates, step, 0)
        epsilon = ops.gather(self.step_epsilons, step, 0)
        decay = ops.gather(self.step_decays, step, 0)
        counted = self.assignadd(self.global_step, self.global_step_increase_tensor)
        moved = self.hyper_map(
            ops.partial(_moved, rate, epsilon, decay, self.beta1, self.beta2),
            self.rate_factors,
            self.decays,
            self._parameters,
            self.moments1,
            self.moments2,
            gradients,
        )
        return ops.depend(Tensor(True), (counted, moved))


def _values(values: Any) -> Tensor:
    return Tensor(values, mindspore.float32)
