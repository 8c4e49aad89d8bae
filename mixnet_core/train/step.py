"""One optimizer step as a single compiled graph."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from mixnet_core.recipe import Recipe
from mixnet_core.train.reduce import MeanOverRanks, Scaled


class TrainStep(nn.Cell):
    """(images, labels) -> this rank's mean loss before the update, a scalar.

    Computes gradients, averages them over ranks and updates the parameters in place. images is
    (N, C, S, S) float32, labels (N,) int32, N the rank's batch.
    """

    def __init__(self, net: nn.Cell, optimizer: nn.Optimizer, recipe: Recipe) -> None:
        # With prefixes, every weight would be renamed to "net.…" in the checkpoints too.
        super().__init__(auto_prefix=False)
        self.net = net
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe.training.label_smoothing)
        self.optimizer = optimizer
        # Small float16 gradients would vanish unscaled; float32 recipes have a scale of 1.
        self.scale = float(recipe.precision.loss_scale)
        self.scaled = self.scale != 1.0
        self.unscale = Scaled(1.0 / self.scale)
        self.gradient = ops.value_and_grad(self.forward, None, optimizer.parameters)
        self.several = recipe.devices.ranks > 1
        self.mean = MeanOverRanks(optimizer.parameters, recipe.devices.ranks)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = self.loss(self.net(images), labels)
        return loss * self.scale if self.scaled else loss

    def construct(self, images: Tensor, labels: Tensor) -> Tensor:
        loss, gradients = self.gradient(images, labels)
        if self.several:
            gradients = self.mean(gradients)
        if self.scaled:
            loss = loss / self.scale
            gradients = self.unscale(gradients)
        return ops.depend(loss, self.optimizer(gradients))
