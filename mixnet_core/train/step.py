"""One optimizer step: gradients of one or more micro-batches, then one update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.train.joined import Mapped
from mixnet_core.train.update import Update


class MicroBatch(NamedTuple):
    """Holds a micro-batch on the device.

    Attributes:
        images: (N, C, S, S) float32.
        targets: (N, classes) float32, rows summing to 1.
        features, paths: as `model.mixnet.MixNet` takes them; None where nothing is dropped.
    """

    images: Tensor
    targets: Tensor
    features: Tensor | None = None
    paths: Tensor | None = None


class Gradients(nn.Cell):
    """Computes a micro-batch's mean loss, and the gradients of that loss times the loss scale.

    The loss is the cross-entropy with soft targets, in nats.

    Args:
        net: set to train.
        weights: what the gradients are taken of.
        scale: the loss scale.
    """

    def __init__(self, net: nn.Cell, weights: ParameterTuple, scale: Parameter | float) -> None:
        # With prefixes, every weight would be renamed to "net.…" in the checkpoints too.
        super().__init__(auto_prefix=False)
        self.net = net
        self.scale = scale
        # Small float16 gradients would vanish unscaled; float32 recipes have a scale of 1.
        self.scaled = scale != 1.0 if isinstance(scale, float) else True
        self.gradients = ops.value_and_grad(self.forward, None, weights, has_aux=True)

    def forward(
        self, images: Tensor, targets: Tensor, features: Tensor | None, paths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Computes the loss times the loss scale, and the loss, of what `MicroBatch` describes."""
        # The loss is computed in float32 whatever the network computes in: float16 ends at 65504.
        logits = self.net(images, features, paths).astype(targets.dtype)
        loss = -(targets * ops.log_softmax(logits, -1)).sum(-1).mean()
        return (loss * self.scale if self.scaled else loss), loss

    def construct(
        self,
        images: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        paths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        (_, loss), gradients = self.gradients(images, targets, features, paths)
        return loss, gradients


class _WholeStep(nn.Cell):
    """Makes a step of one micro-batch: gradients and update, as one graph."""

    def __init__(self, gradients: Gradients, update: Update) -> None:
        super().__init__(auto_prefix=False)
        self.gradients, self.update = gradients, update

    def construct(
        self,
        images: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        paths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        loss, gradients = self.gradients(images, targets, features, paths)
        return loss, self.update(gradients)


class _Collect(nn.Cell):
    """Adds a micro-batch's gradients to their sums; returns its mean loss."""

    def __init__(self, gradients: Gradients, sums: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self.gradients, self.sums = gradients, sums
        self.mapped = Mapped()

    def construct(
        self,
        images: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        paths: Tensor | None = None,
    ) -> Tensor:
        loss, gradients = self.gradients(images, targets, features, paths)
        return ops.depend(loss, self.mapped.add(self.sums, gradients))


class _UpdateOnce(nn.Cell):
    """Makes the update by the sums of gradients, which are zero again after it."""

    def __init__(self, update: Update, sums: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self.update, self.sums = update, sums
        self.mapped = Mapped()

    def construct(self) -> Tensor:
        applied = self.update(self.sums)
        return ops.depend(applied, self.mapped.clear(self.sums))


class TrainStep:
    """Makes one optimizer step from the step's micro-batches, as many as the recipe accumulates.

    A call returns this rank's mean loss before the update, and whether the update was applied: it
    is left out where `precision.drop_overflow_update` says so. Both are scalars on the device,
    float32 and bool.

    Args:
        net: set to train; what is frozen in it stays in evaluation mode.
        optimizer: over the weights that are trained.
        recipe: says micro-batches, ranks, precision, clipping and averages.
        update_type: makes new weights of the gradients; benchmarks compare others.

    Attributes:
        update: holds what the step keeps besides weights and optimizer: see `Update.state`.
    """

    def __init__(
        self,
        net: nn.Cell,
        optimizer: nn.Optimizer,
        recipe: Recipe,
        update_type: type[Update] = Update,
    ) -> None:
        self.update = update_type(net, optimizer, recipe)
        gradients = Gradients(net, optimizer.parameters, self.update.scale)
        self._micro_batches = recipe.accumulation
        self._whole = self._collect = self._once = None
        if self._micro_batches == 1:
            self._whole = _WholeStep(gradients, self.update)
        else:
            sums = optimizer.parameters.clone("sum", "zeros")
            self._collect = _Collect(gradients, sums)
            self._once = _UpdateOnce(self.update, sums)

    def __call__(self, micro_batches: Sequence[MicroBatch]) -> tuple[Tensor, Tensor]:
        """Makes the step; raises ValueError if there are not as many micro-batches as it takes."""
        if len(micro_batches) != self._micro_batches:
            raise ValueError(
                f"{len(micro_batches)} micro-batches given, the recipe makes "
                f"{self._micro_batches} per step"
            )
        if self._whole is not None:
            loss, applied = self._whole(*micro_batches[0])
            return loss, applied
        assert self._collect is not None
        assert self._once is not None
        losses = [self._collect(*micro_batch) for micro_batch in micro_batches]
        return sum(losses[1:], losses[0]) / self._micro_batches, self._once()
