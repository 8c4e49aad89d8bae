"""From gradients to new weights: mean over ranks, loss scale, clipping, optimizer, moving averages.

Everything that is kept from one step to the next besides weights and optimizer is a parameter here,
so that a bundle can hold it.

`ops.depend(value, work)` is `value`, computed only after `work`. It stands wherever a graph changes
parameters. MindSpore's compiler orders operations by what they need of each other, and may drop
those whose results nobody needs; but a change of a parameter yields nothing that the returned value
needs. So every method here that changes some returns its value through `depend`, tied to the
changes.
"""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.train.joined import Joined, Mapped

# Both as in MindCV. The loss scale is doubled after _SCALE_WINDOW steps without an overflow; an
# average that begins anew follows the weights closely for about _AVERAGE_WARM_UP updates.
_SCALE_WINDOW = 2000
_AVERAGE_WARM_UP = 2000
_SMALLEST_NORM = 1e-6
_STATISTICS = (".moving_mean", ".moving_variance")


class Update(nn.Cell):
    """Applies gradients: (gradients,) -> whether they were applied, a bool scalar.

    In this order: the sum over ranks, divided by ranks, micro-batches and loss scale; where that is
    not finite and the recipe drops such steps, the loss scale shrinks and nothing else happens; the
    global norm clipped to `optimizer.clip_norm`; the optimizer; the moving averages. All ranks
    return the same.

    Args:
        net: whose parameters are averaged.
        optimizer: over the weights that are trained.
        recipe: says ranks, micro-batches, precision, clipping and averages.

    Attributes:
        scale: the loss scale; a parameter where it is dynamic.
        averages: of all of the network's parameters, in their order; empty without `ema_decay`.
    """

    def __init__(self, net: nn.Cell, optimizer: nn.Optimizer, recipe: Recipe) -> None:
        super().__init__(auto_prefix=False)
        precision, ranks = recipe.precision, recipe.ranks
        self.optimizer = optimizer
        self.trained = optimizer.parameters
        self.values = ParameterTuple(list(net.get_parameters()))
        self.mapped = Mapped()

        self.dynamic = precision.loss_scale_type == "dynamic"
        self.drops = precision.drop_overflow_update
        self.scale: Parameter | float = float(precision.loss_scale)
        fixed = 1.0 if self.dynamic else self.scale
        self.factor = 1.0 / (ranks * recipe.accumulation * fixed)
        if self.dynamic:
            self.scale = _counter("loss_scale", precision.loss_scale, mindspore.float32)
            self.good_steps = _counter("good_steps", 0, mindspore.int32)
            self.scale_window = _SCALE_WINDOW
            # MindSpore's limit: small gradients are never made smaller. A recipe that begins
            # below it stays there.
            self.least_scale = min(1.0, precision.loss_scale) if recipe.follows(2) else 0.0

        self.clip_norm = recipe.optimizer.clip_norm
        self.several = ranks > 1
        # Every rank adds 1.0 where its gradients are finite, else 0.0: the sum is above this number
        # only if all of them are. Half a rank less than `ranks`, because it is a sum of floats.
        self.all_ranks_finite_above = ranks - 0.5
        self.joins = self.several or self.drops or self.clip_norm is not None
        self.joined = Joined(optimizer.parameters)
        # Without a group of ranks AllReduce could not even be made.
        self.all_reduce = ops.AllReduce() if self.several else ops.identity
        self.on_cpu = recipe.devices.target == "CPU"

        # BatchNorm's recursion is linear, so averaging it every step is averaging it at the end.
        sharers = recipe.training.virtual_ranks or ranks
        averaged = sharers > 1 and recipe.training.batch_statistics == "averaged"
        self.statistics = ParameterTuple(running_statistics(net) if averaged else [])
        self.shares_statistics = len(self.statistics) > 0
        self.joined_statistics = Joined(self.statistics)
        self.statistics_share = 1.0 / sharers

        self.ema_decay = recipe.training.ema_decay
        self.averages = ParameterTuple(
            [] if self.ema_decay is None else self.values.clone("ema", "same")
        )
        if self.ema_decay is not None:
            self.ema_updates = _counter("ema_updates", 0, mindspore.float32)

    def state(self) -> dict[str, Parameter]:
        """Returns loss scale and counters by name, for a bundle; empty if there are none."""
        held: dict[str, Parameter] = {}
        if self.dynamic:
            held |= {"loss_scale": self.scale, "good_steps": self.good_steps}
        if self.ema_decay is not None:
            held["ema_updates"] = self.ema_updates
        return held

    def construct(self, gradients: Any) -> Tensor:
        finite = Tensor(True)
        if self.joins:
            joined = self.reduced(gradients)
            if self.drops:
                finite = self.is_finite(joined)
            if self.clip_norm is not None:
                norm = ops.sqrt((joined * joined).sum())
                joined = joined * ops.minimum(1.0, self.clip_norm / (norm + _SMALLEST_NORM))
            gradients = self.joined.apart(joined, self.trained)
        elif self.factor != 1.0:
            gradients = self.mapped.scale(gradients, self.factor)
        if not self.drops:
            return ops.depend(finite, self.apply(gradients))
        if finite:
            finite = ops.depend(finite, self.apply(gradients))
        return ops.depend(finite, self.rescale(finite)) if self.dynamic else finite

    def reduced(self, gradients: Any) -> Tensor:
        """Joins all gradients into one vector: their mean over ranks and micro-batches, unscaled.

        BatchNorm's statistics travel in the same AllReduce, where the recipe averages them.

        Args:
            gradients: this rank's, added up over micro-batches, times the loss scale.
        """
        joined = self.joined(gradients)
        if self.shares_statistics:
            both = ops.concat((joined, self.joined_statistics(self.statistics)))
            both = self.all_reduce(both)
            joined = ops.slice(both, (0,), (self.joined.size,))
            statistics = ops.slice(both, (self.joined.size,), (self.joined_statistics.size,))
            statistics = statistics * self.statistics_share
            means = self.joined_statistics.apart(statistics, self.statistics)
            joined = ops.depend(joined, self.mapped.assign(self.statistics, means))
        elif self.several:
            joined = self.all_reduce(joined)
        joined = joined * self.factor
        return joined / self.scale if self.dynamic else joined

    def is_finite(self, joined: Tensor) -> Tensor:
        """Says whether the gradients of all ranks are finite.

        Args:
            joined: as `reduced` returns it.

        Returns:
            A bool scalar, the same on every rank.
        """
        if self.on_cpu:
            return ops.isfinite(joined).all()
        # Older Ascend devices saturate instead of overflowing; this asks for their status, and each
        # rank has a status of its own.
        finite = mindspore.amp.all_finite((joined,))
        if self.several:
            finite = self.all_reduce(finite.astype(mindspore.float32)) > self.all_ranks_finite_above
        return finite

    def apply(self, gradients: Any) -> Tensor:
        """Moves the weights, and then their averages towards them; returns True.

        Args:
            gradients: unscaled and clipped.
        """
        done = self.optimizer(gradients)
        if self.ema_decay is None:
            return done
        # As in MindCV: a short memory first, so that the random initial weights are soon forgotten.
        updates = ops.depend(self.ema_updates, done) + 1.0
        decay = self.ema_decay * (1.0 - ops.exp(-updates / _AVERAGE_WARM_UP))
        self.ema_updates = updates
        return ops.depend(done, self.mapped.average(self.averages, self.values, 1.0 - decay))

    def rescale(self, finite: Tensor) -> Tensor:
        """Halves the loss scale after an overflow, doubles it after enough steps without one.

        Args:
            finite: whether this step's gradients were finite.
        """
        good = ops.where(finite, self.good_steps + 1, 0)
        grown = good >= self.scale_window
        halved = ops.maximum(self.scale * 0.5, self.least_scale)
        scale = ops.where(finite, self.scale * ops.where(grown, 2.0, 1.0), halved)
        kept = ops.assign(self.good_steps, ops.where(grown, 0, good).astype(mindspore.int32))
        return ops.depend(ops.assign(self.scale, scale.astype(mindspore.float32)), kept)


def running_statistics(net: nn.Cell) -> list[Parameter]:
    """Returns BatchNorm's running means and variances, in the order of the network's parameters.

    Args:
        net: whose parameters are looked through.
    """
    return [p for p in net.get_parameters() if p.name.endswith(_STATISTICS)]


def _counter(name: str, value: float, dtype: mindspore.Type) -> Parameter:
    return Parameter(Tensor(value, dtype), name=name, requires_grad=False)
