"""What every optimizer says of itself. Nothing here imports MindSpore: recipes ask too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from mixnet_core.recipe.sections import Optimizer

if TYPE_CHECKING:
    from mindspore import Parameter


class OptimizerKind(ABC):
    """An optimizer as one file of `train.optimizers` offers it.

    Attributes:
        states: float32 numbers that it keeps a parameter, beside the parameter itself.
        nesterov: whether it has Nesterov's variant.
    """

    states: ClassVar[int]
    nesterov: ClassVar[bool] = False

    def check(self, settings: Optimizer) -> None:
        """Raises ValueError where the section's other keys do not fit it."""
        if settings.nesterov and not self.nesterov:
            raise ValueError("nesterov needs optimizer.name: momentum")

    @abstractmethod
    def build(
        self,
        parameters: list[Parameter],
        settings: Optimizer,
        *,
        rates: list[float],
        rate_factors: list[float],
        decays: list[float],
    ) -> Any:
        """Builds a `mindspore.nn.Optimizer`.

        Args:
            parameters: each is moved, whatever its name.
            rates: the learning rate of every step.
            rate_factors: of it, a parameter each.
            decays: of the weights, a parameter each.
        """
