"""One optimizer step as a single compiled graph."""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, nn, ops

from mixnet_core.recipe import Recipe


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
        self.weights = optimizer.parameters
        # Small float16 gradients would vanish unscaled; float32 recipes have a scale of 1.
        self.scale = float(recipe.precision.loss_scale)
        self.scaled = self.scale != 1.0
        self.gradient = ops.value_and_grad(self.forward, None, optimizer.parameters)
        self.ranks = recipe.devices.ranks
        self.reduce = (
            nn.DistributedGradReducer(optimizer.parameters, mean=True, degree=self.ranks)
            if self.ranks > 1
            else nn.Identity()
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = self.loss(self.net(images), labels)
        return loss * self.scale if self.scaled else loss

    def construct(self, images: Tensor, labels: Tensor) -> Tensor:
        loss, gradients = self.gradient(images, labels)
        if self.ranks > 1:
            gradients = self.reduce(gradients)
        if self.scaled:
            loss = loss / self.scale
            gradients = self.unscaled(gradients)
        return ops.depend(loss, self.optimizer(gradients))

    def unscaled(self, gradients: Any) -> Any:
        outputs: tuple[Any, ...] = ()
        for gradient in gradients:
            outputs += (gradient / self.scale,)
        return outputs
