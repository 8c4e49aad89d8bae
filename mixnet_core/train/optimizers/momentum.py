"""SGD with momentum, or with Nesterov's (`train.sgd`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixnet_core.recipe.sections import Optimizer
from mixnet_core.train.optimizer_kind import OptimizerKind

if TYPE_CHECKING:
    from mindspore import Parameter


class Momentum(OptimizerKind):
    """Offers SGD with momentum, by Nesterov's formula if `optimizer.nesterov` says so."""

    states = 1
    nesterov = True

    def build(
        self,
        parameters: list[Parameter],
        settings: Optimizer,
        *,
        rates: list[float],
        rate_factors: list[float],
        decays: list[float],
    ) -> Any:
        """Builds a `train.sgd.Sgd`; see `OptimizerKind.build`."""
        from mixnet_core.train.sgd import Sgd

        return Sgd(
            parameters,
            rates=rates,
            rate_factors=rate_factors,
            decays=decays,
            momentum=settings.momentum,
            # Without momentum both formulas are one.
            nesterov=settings.nesterov and settings.momentum > 0,
        )


OPTIMIZER = Momentum()
