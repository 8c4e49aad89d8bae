"""What learns: a recipe's network, optimizer and step, and the files that hold their state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mindspore
from mindspore import Parameter, Tensor

from mixnet_core.checkpoints.bundle import AVERAGES, OPTIMIZER, WEIGHTS
from mixnet_core.checkpoints.store import load_weights, optimizer_state, restore, save_into
from mixnet_core.data.batches import TrainingBatch
from mixnet_core.model.mixnet import MixNet, build_model
from mixnet_core.model.ranks import Ranks
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.train.dropout import Dropout
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.precision import at_level
from mixnet_core.train.step import MicroBatch, TrainStep
from mixnet_core.train.virtual_step import VirtualStep


class Learner:
    """Trains a network, freshly initialised or with the request's weights, one step per call.

    Args:
        recipe: says network, precision, optimizer and what is dropped out.
        request: holds the initial weights, if any, and the classes.
        ranks: which rank this is, of how many.
        rates: the learning rate of every step.

    Raises:
        CheckpointMismatch: the weights do not fit the network.
        InputError, IntegrityError: as `store.load_weights`.
        MachineError: native operators are asked for, and cannot be compiled here.
    """

    def __init__(
        self, recipe: Recipe, request: TrainRequest, ranks: Ranks, rates: list[float]
    ) -> None:
        # Every rank draws the same initial weights: gradients are averaged, weights never are.
        mindspore.set_seed(recipe.training.seed)
        self._net = _network(recipe, request)
        self._dropout = Dropout(
            recipe,
            ranks.rank,
            features=self._net.classifier.in_channels,
            depths=self._net.residual_depths,
        )
        computing = at_level(self._net, recipe.precision.amp_level)
        computing.set_train()
        if recipe.weights.freeze == "backbone":
            freeze_backbone(self._net)
        self._optimizer = build_optimizer(self._net, recipe, rates)
        self._step: TrainStep | VirtualStep = (
            TrainStep(computing, self._optimizer, recipe)
            if recipe.training.virtual_ranks is None
            else VirtualStep(computing, self._optimizer, recipe, ranks)
        )

    def step(
        self, micro_batches: Sequence[TrainingBatch], *, epoch: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Makes one optimizer step.

        Args:
            micro_batches: of this rank, as many as the recipe accumulates.
            epoch: 0-based.
            step: 0-based, within the epoch.

        Returns:
            The loss and whether the update was applied, as `TrainStep`.
        """
        return self._step(
            [
                MicroBatch(
                    Tensor(batch.images),
                    Tensor(batch.targets),
                    *(
                        None if kept is None else Tensor(kept)
                        for kept in self._dropout.draw(epoch=epoch, step=step, micro_batch=number)
                    ),
                )
                for number, batch in enumerate(micro_batches)
            ]
        )

    def save(self, folder: Path) -> None:
        """Writes weights, optimizer state and moving averages into a folder.

        Args:
            folder: not yet in its final place; see `store.save_into`.

        Raises:
            MachineError: the disk is full or not writable.
            JobFailed: a value is infinite or not a number; nothing is written.
        """
        save_into(folder, self._files())

    def restore(self, bundle: Path) -> None:
        """Goes back to the state that a verified bundle holds.

        Args:
            bundle: its folder.

        Raises:
            CheckpointMismatch: the bundle belongs to another network, optimizer or recipe.
            IntegrityError: a file is not a MindSpore checkpoint.
        """
        restore(bundle, self._files())

    def _files(self) -> dict[str, dict[str, Parameter]]:
        weights = list(self._net.get_parameters())
        files = {
            WEIGHTS: {parameter.name: parameter for parameter in weights},
            OPTIMIZER: {
                **optimizer_state(self._optimizer, self._net),
                **self._step.update.state(),
            },
        }
        averages = self._step.update.averages
        if averages:
            # Under the network's own names: they are weights like any others.
            files[AVERAGES] = {
                parameter.name: average
                for parameter, average in zip(weights, averages, strict=True)
            }
        return files


def _network(recipe: Recipe, request: TrainRequest) -> MixNet:
    net = build_model(
        recipe.network.variant,
        len(request.dataset.classes),
        recipe.network.in_channels,
        flavour=recipe.network.flavour,
        stem_stride=recipe.network.stem_stride,
        operators=request.operators,
    )
    if request.weights is not None:
        load_weights(
            net,
            Path(request.weights.path),
            reset_classifier=recipe.weights.reset_classifier,
            ema=recipe.weights.ema,
        )
    return net


def freeze_backbone(net: MixNet) -> None:
    """Freezes all but the classifier.

    The backbone's BatchNorms use the statistics that came with the weights, and leave them as they
    are.

    Args:
        net: set to train before.
    """
    for name, cell in net.name_cells().items():
        if name != "classifier":
            cell.set_train(False)
            for parameter in cell.get_parameters():
                parameter.requires_grad = False
