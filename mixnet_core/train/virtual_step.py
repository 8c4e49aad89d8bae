"""A step of virtual ranks: the same bits on any number of ranks.

`training.virtual_ranks` cuts the global batch into so many micro-batches, each with its own images,
draws and BatchNorm means, whichever rank computes it (as EasyScale's, arXiv:2208.14228). Three
kinds of graphs make a step:

    part       of one micro-batch: loss, gradients and moved statistics as one vector; the same
               graph on every number of ranks, as it knows of no other rank
    exchange   gives every rank the sums of all; it adds zeros only, or the two operands of a sum
    update     of the total: the same graph again

What is added up between them is in the order of `train.summing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from mixnet_core.model.ranks import Ranks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.train.joined import Mapped
from mixnet_core.train.step import Gradients, MicroBatch
from mixnet_core.train.summing import Span, Summing, spans, total_of
from mixnet_core.train.update import Update, running_statistics


class TotalUpdate(Update):
    """Applies the total of all virtual ranks: gradients, and statistics where they are averaged.

    Args:
        net, optimizer, recipe: as for `Update`.
    """

    def __init__(self, net: nn.Cell, optimizer: nn.Optimizer, recipe: Recipe) -> None:
        super().__init__(net, optimizer, recipe)
        self.joins = True
        if recipe.weights.freeze == "backbone":
            # Its statistics stay: not even a mean of equal ones rounds them.
            self.statistics = ParameterTuple([])
            self.shares_statistics = False

    def reduced(self, gradients: Tensor) -> Tensor:
        """Takes the gradients out of the total, and sets the statistics to their means.

        Args:
            gradients: the total without the loss, times the loss scale.
        """
        joined = ops.slice(gradients, (0,), (self.joined.size,))
        if self.shares_statistics:
            size = self.joined_statistics.size
            statistics = ops.slice(gradients, (self.joined.size,), (size,))
            statistics = statistics * self.statistics_share
            means = self.joined_statistics.apart(statistics, self.statistics)
            joined = ops.depend(joined, self.mapped.assign(self.statistics, means))
        joined = joined * self.factor
        return joined / self.scale if self.dynamic else joined


class _Part(nn.Cell):
    """Computes a micro-batch's part of the total: loss, gradients, and moved statistics."""

    def __init__(self, gradients: Gradients, update: TotalUpdate) -> None:
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.joined = update.joined
        self.statistics = update.statistics
        self.shares_statistics = update.shares_statistics
        self.joined_statistics = update.joined_statistics

    def construct(
        self,
        images: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        paths: Tensor | None = None,
    ) -> Tensor:
        loss, gradients = self.gradients(images, targets, features, paths)
        part = ops.concat((ops.reshape(loss, (1,)), self.joined(gradients)))
        if self.shares_statistics:
            part = ops.concat((part, self.joined_statistics(self.statistics)))
        return part


class _Assign(nn.Cell):
    """Sets some parameters to the values of others."""

    def __init__(self, to: ParameterTuple, values: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self.to, self.values = to, values
        self.mapped = Mapped()

    def construct(self) -> Any:
        return ops.depend(Tensor(True), self.mapped.assign(self.to, self.values))


class _Statistics:
    """Keeps BatchNorm's running statistics as if every virtual rank had its own.

    All move away from the same values, so that a step leaves either the mean of where they went
    (`TotalUpdate` sets it), or where virtual rank 0 went, as `training.batch_statistics` says.
    """

    def __init__(self, moving: Sequence[Parameter], recipe: Recipe) -> None:
        self._last = recipe.accumulation - 1
        self._averaged = recipe.training.batch_statistics == "averaged"
        self._keep = self._put_back = None
        if moving and self._last:
            moved = ParameterTuple(moving)
            kept = moved.clone("kept", "same")
            self._keep, self._put_back = _Assign(kept, moved), _Assign(moved, kept)

    def before(self, number: int) -> None:
        """Prepares for a rank's micro-batch of that number, from 0."""
        if self._keep is not None and self._averaged and number == 0:
            self._keep()

    def after(self, number: int) -> None:
        """Puts right what that micro-batch moved."""
        if self._keep is None or self._put_back is None:
            return
        if not self._averaged and number == 0:
            self._keep()
        if (number < self._last) if self._averaged else (number == self._last):
            self._put_back()


class _PairSum(nn.Cell):
    """Adds up the two vectors of two ranks; a sum of two has no order."""

    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce()

    def construct(self, vector: Tensor) -> Tensor:
        return self.all_reduce(vector)


class _Gather(nn.Cell):
    """Gives each rank the vectors of all: (K,) float32 -> (ranks, K).

    MindSpore has no AllGather on a CPU. Zeros take the others' places in an AllReduce: what is
    added to a number is zeros, in whatever order.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self.ranks = ranks.count
        self.own = Tensor(np.arange(ranks.count)[:, None] == ranks.rank)
        self.zero = Tensor([[0.0]], mindspore.float32)
        self.all_reduce = ops.AllReduce()

    def construct(self, vector: Tensor) -> Tensor:
        # Not a product: an infinite gradient times 0 is not 0.
        shape = (self.ranks, ops.shape(vector)[0])
        own = ops.broadcast_to(self.own, shape)
        values = ops.broadcast_to(ops.reshape(vector, (1, -1)), shape)
        return self.all_reduce(ops.select(own, values, ops.broadcast_to(self.zero, shape)))


class _FromTotal(nn.Cell):
    """Makes loss and update of the total: (total,) -> (mean loss, whether it was applied)."""

    def __init__(self, update: TotalUpdate, virtual_ranks: int) -> None:
        super().__init__(auto_prefix=False)
        self.update = update
        self.share = 1.0 / virtual_ranks
        # A parameter, lest the compiler leave the sum out.
        self.zero = Parameter(Tensor(0, mindspore.float32), name="zero", requires_grad=False)

    def construct(self, total: Tensor) -> tuple[Tensor, Tensor]:
        # A sum that is zero has a sign that says how many ranks there are: -0 + 0 is 0.
        total = total + self.zero
        loss = ops.reshape(ops.slice(total, (0,), (1,)), ()) * self.share
        rest = ops.slice(total, (1,), (ops.shape(total)[0] - 1,))
        return loss, self.update(rest)


class VirtualStep:
    """Makes one optimizer step from a rank's share of the virtual ranks.

    A call returns the mean loss of all virtual ranks before the update, and whether the update was
    applied, as `TrainStep`; both are the same on every rank.

    Args:
        net: set to train; what is frozen in it stays in evaluation mode.
        optimizer: over the weights that are trained.
        recipe: says virtual ranks and ranks, precision, clipping and averages.
        ranks: which rank this is, of how many.

    Attributes:
        update: holds what the step keeps besides weights and optimizer: see `Update.state`.
    """

    def __init__(self, net: nn.Cell, optimizer: nn.Optimizer, recipe: Recipe, ranks: Ranks) -> None:
        assert recipe.training.virtual_ranks is not None
        self._count, self._own = recipe.training.virtual_ranks, recipe.accumulation
        self._ranks = ranks
        self.update = TotalUpdate(net, optimizer, recipe)
        gradients = Gradients(net, optimizer.parameters, self.update.scale)
        self._part = _Part(gradients, self.update)
        moving = [] if recipe.weights.freeze == "backbone" else running_statistics(net)
        self._statistics = _Statistics(moving, recipe)
        self._sums: Summing[Tensor] = Summing()
        self._spans = [spans(r * self._own, (r + 1) * self._own) for r in range(ranks.count)]
        self._most = max(len(of_rank) for of_rank in self._spans)
        self._pair = _PairSum() if ranks.count == 2 and self._most == 1 else None
        self._gather = _Gather(ranks) if ranks.count > 1 and self._pair is None else None
        self._from_total = _FromTotal(self.update, self._count)

    def __call__(self, micro_batches: Sequence[MicroBatch]) -> tuple[Tensor, Tensor]:
        """Makes the step; raises ValueError if there are not as many micro-batches as it takes."""
        if len(micro_batches) != self._own:
            raise ValueError(
                f"{len(micro_batches)} micro-batches given, this rank has {self._own} virtual ranks"
            )
        first = self._ranks.rank * self._own
        for number, micro_batch in enumerate(micro_batches):
            self._statistics.before(number)
            self._sums.add(first + number, self._part(*micro_batch))
            self._statistics.after(number)
        loss, applied = self._from_total(self._total(self._sums.taken()))
        return loss, applied

    def _total(self, own: list[Tensor]) -> Tensor:
        """Adds up the sums of all ranks, given this rank's."""
        if self._pair is not None:
            return self._pair(own[0])
        if self._gather is None:
            return total_of(dict(zip(self._spans[0], own, strict=True)), self._count)
        # Ranks may have unequally many; what fills up is not looked at.
        own += own[-1:] * (self._most - len(own))
        size = own[0].shape[0]
        gathered = self._gather(own[0] if self._most == 1 else ops.concat(own))
        sums: dict[Span, Tensor] = {}
        for rank, of_rank in enumerate(self._spans):
            for place, span in enumerate(of_rank):
                sums[span] = gathered[rank, place * size : (place + 1) * size]
        return total_of(sums, self._count)
