"""AdamW (`train.adamw`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixnet_core.recipe.sections import Optimizer
from mixnet_core.train.optimizer_kind import OptimizerKind

if TYPE_CHECKING:
    from mindspore import Parameter


class AdamWKind(OptimizerKind):
    """Offers AdamW, whose first moment keeps the share `optimizer.momentum` from step to step."""

    states = 2

    def build(
        self,
        parameters: list[Parameter],
        settings: Optimizer,
        *,
        rates: list[float],
        rate_factors: list[float],
        decays: list[float],
    ) -> Any:
        """Builds a `train.adamw.AdamW`; see `OptimizerKind.build`."""
        from mixnet_core.train.adamw import AdamW

        return AdamW(
            parameters,
            rates=rates,
            rate_factors=rate_factors,
            decays=decays,
            beta1=settings.momentum,
        )


OPTIMIZER = AdamWKind()
