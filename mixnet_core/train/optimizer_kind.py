"""What every optimizer says of itself. Nothing here imports MindSpore: recipes ask too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from mixnet_core.recipe.sections import Optimizer

if TYPE_CHECKING:
    from mindspore import Parameter


class OptimizerKind(ABC):
    """Describes an optimizer, as one file of `train.optimizers` offers it.

    Attributes:
        states: float32 numbers that it keeps per weight, beside the weight itself.
        nesterov: whether it has Nesterov's variant.
    """

    states: ClassVar[int]
    nesterov: ClassVar[bool] = False

    def check(self, settings: Optimizer) -> None:
        """Checks whether the section's other keys fit this optimizer.

        Args:
            settings: the recipe's section.

        Raises:
            ValueError: they do not; names the key and the remedy.
        """
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
            settings: the recipe's section.
            rates: the learning rate of every step.
            rate_factors: for each parameter, what its learning rate is multiplied by.
            decays: for each parameter, its weight decay.
        """
