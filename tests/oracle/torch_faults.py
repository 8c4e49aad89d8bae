"""Formulas with one mistake each, which the comparison must see: `test_trajectory`.

The first three are this project's own until rules 2 (`mixnet_core.recipe.rules`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch_training import Formulas, Part, Values


class NormsDoNotDecay(Formulas):
    def decay(self, name: str) -> float:
        return 0.0 if name.endswith(("gamma", "beta")) else self.case["decay"]


class NesterovIsMomentum(Formulas):
    def ahead(self, g: Tensor, v: Tensor) -> Tensor:
        return v


class EpsilonBesideUncorrectedRoot(Formulas):
    def adam(self, t: int, name: str, g: Tensor) -> Tensor:
        beta1, beta2, epsilon = self.case["momentum"], 0.999, 1e-8
        m = self.first[name] = beta1 * self.first[name] + (1 - beta1) * g
        v = self.second[name] = beta2 * self.second[name] + (1 - beta2) * g * g
        return m / (1 - beta1**t) * math.sqrt(1 - beta2**t) / (v.sqrt() + epsilon)


class BiasesDoNotDecay(Formulas):
    def decay(self, name: str) -> float:
        return 0.0 if name.endswith("bias") else self.case["decay"]


class DecayIsAHundredthLess(Formulas):
    def decay(self, name: str) -> float:
        return 0.99 * self.case["decay"]


class DecayInTheGradient(Formulas):
    """AdamW's, of which that makes Adam with L2."""

    def moved(self, t: int, rate: float, name: str, g: Tensor) -> Tensor:
        p = self.values[name]
        return p - rate * self.adam(t, name, g + self.decay(name) * p)


class DecayBesideTheGradient(Formulas):
    """Momentum's, of which that makes SGDW."""

    def moved(self, t: int, rate: float, name: str, g: Tensor) -> Tensor:
        p, mu = self.values[name], self.case["momentum"]
        v = self.first[name] = mu * self.first[name] + g
        return p - rate * (v + self.decay(name) * p)


class Dampened(Formulas):
    """Nesterov's, as some give it, with velocity mu v + (1 - mu) g."""

    def moved(self, t: int, rate: float, name: str, g: Tensor) -> Tensor:
        return super().moved(t, rate, name, g * (1 - self.case["momentum"]))


class RateInTheVelocity(Formulas):
    """While the rate stays the same that makes no difference."""

    def moved(self, t: int, rate: float, name: str, g: Tensor) -> Tensor:
        p, mu = self.values[name], self.case["momentum"]
        v = self.first[name] = mu * self.first[name] + rate * (g + self.decay(name) * p)
        return p - v


class FirstMomentUncorrected(Formulas):
    def adam(self, t: int, name: str, g: Tensor) -> Tensor:
        return super().adam(t, name, g) * (1 - self.case["momentum"] ** t)


class BetaOfAdamsPaper(Formulas):
    """beta1 0.9 whatever the recipe says."""

    def adam(self, t: int, name: str, g: Tensor) -> Tensor:
        mu, self.case["momentum"] = self.case["momentum"], 0.9
        update = super().adam(t, name, g)
        self.case["momentum"] = mu
        return update


class RatesAStepLate(Formulas):
    def step(self, t: int, rate: float, parts: list[Part]) -> tuple[float, float]:
        late = self.case["rates"][t - 2] if t > 1 else rate
        return super().step(t, late, parts)


class SumOverParts(Formulas):
    def over_parts(self, gradients: list[Values]) -> Values:
        mean = super().over_parts(gradients)
        return {name: g * len(gradients) for name, g in mean.items()}


class EachPartClipped(Formulas):
    def over_parts(self, gradients: list[Values]) -> Values:
        return super().over_parts([Formulas.clipped(self, g) for g in gradients])

    def clipped(self, gradient: Values) -> Values:
        return gradient


class EachParameterClipped(Formulas):
    def clipped(self, gradient: Values) -> Values:
        clipped: Values = {}
        for name, g in gradient.items():
            clipped |= super().clipped({name: g})
        return clipped


class NotClipped(Formulas):
    def clipped(self, gradient: Values) -> Values:
        return gradient


class WholeBatchNormalised(Formulas):
    """Where micro-batches should be."""

    def step(self, t: int, rate: float, parts: list[Part]) -> tuple[float, float]:
        whole = [torch.cat([part[field] for part in parts]) for field in (0, 1)]
        return super().step(t, rate, [Part(*whole, 1.0)])


class BiasedVarianceKept(Formulas):
    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        before = self.values[f"{name}.moving_variance"]
        y = super().batch_norm(name, x)
        biased = x.detach().var((0, 2, 3), correction=0)
        self.values[f"{name}.moving_variance"] = 0.9 * before + 0.1 * biased
        return y


class StatisticsDecayByTheOtherShare(Formulas):
    def keep_statistic(self, name: str, new: Tensor) -> None:
        self.values[name] = 0.1 * self.values[name] + 0.9 * new


class SmoothedOverTheOthers(Formulas):
    """s / (classes - 1) for each class but the true one, as some give it."""

    def loss(self, out: Tensor, labels: Tensor) -> Tensor:
        s = self.case["smoothing"]
        logs = out.log_softmax(1)
        own = logs.gather(1, labels[:, None])[:, 0]
        others = (logs.sum(1) - own) / (out.shape[1] - 1)
        return -((1 - s) * own + s * others).mean()


class AverageWithoutWarmUp(Formulas):
    def kept(self, t: int) -> float:
        return self.case["ema_decay"]


class AveragesFollowTheWeightsBefore(Formulas):
    """Of the step, not those after it."""

    def step(self, t: int, rate: float, parts: list[Part]) -> tuple[float, float]:
        before = {name: value.detach() for name, value in self.values.items()}
        averages = dict(self.averages)
        found = super().step(t, rate, parts)
        keep = self.kept(t)
        self.averages = {
            name: keep * averages[name] + (1 - keep) * before[name] for name in averages
        }
        return found


FAULTS = {kind.__name__: kind for kind in Formulas.__subclasses__()}
