"""The training loop, as every rank runs it."""

from __future__ import annotations

import time
from pathlib import Path

import mindspore
from mindspore import Tensor, nn

from mixnet_core.checkpoints.bundle import complete_bundles
from mixnet_core.checkpoints.store import load_weights, restore
from mixnet_core.data.batches import steps_per_epoch, training_batches
from mixnet_core.data.index import read_index
from mixnet_core.model.mixnet import build_model
from mixnet_core.recipe import Recipe, load_recipe
from mixnet_core.run_dir import RunDir
from mixnet_core.train.graph_cache import GraphCache
from mixnet_core.train.optimizer import build_optimizer
from mixnet_core.train.progress import Progress
from mixnet_core.train.ranks import join_ranks
from mixnet_core.train.schedule import learning_rates
from mixnet_core.train.step import TrainStep
from mixnet_core.values import Checkpoint, TrainedRun, TrainRequest


def train(request: TrainRequest) -> TrainedRun:
    """Trains from the newest complete checkpoint, or from the start, to the recipe's last epoch.

    Raises:
        CheckpointMismatch: the weights or a checkpoint do not fit the network.
        StageFailed: the loss is not finite.
        MixnetError: as the parts below raise them.
    """
    began = time.monotonic()
    recipe, run = load_recipe(request.recipe), RunDir(Path(request.run_dir))
    ranks = join_ranks(recipe)
    index = read_index(Path(request.dataset.root), "train")
    steps = steps_per_epoch(len(index.paths), recipe)
    rates = learning_rates(recipe.schedule, steps_per_epoch=steps, epochs=recipe.training.epochs)

    net = _network(recipe, request)
    optimizer = build_optimizer(net, recipe, rates)
    start = _resume(run, net, optimizer)
    train_step = TrainStep(net, optimizer, recipe).set_train()
    with GraphCache(run, request, ranks, recipe.devices.target) as graph:
        progress = Progress(recipe, run, ranks, rates=rates, start=start, compiled=graph.warm)
        for epoch in range(start.epoch if start else 0, recipe.training.epochs):
            for batch in training_batches(
                index, recipe, epoch=epoch, rank=ranks.rank, threads=request.threads
            ):
                loss = train_step(Tensor(batch.images), Tensor(batch.labels))
                progress.stepped(epoch, loss)
                graph.keep()
            progress.finished(epoch)
            if _checkpoint_due(recipe, epoch):
                progress.save(epoch, net, optimizer)
    return progress.result(began)


def _network(recipe: Recipe, request: TrainRequest) -> nn.Cell:
    # Every rank draws the same initial weights: gradients are averaged, weights never are.
    mindspore.set_seed(recipe.training.seed)
    net = build_model(
        recipe.network.variant,
        len(request.dataset.classes),
        recipe.network.in_channels,
        flavour=recipe.network.flavour,
        drop_rate=recipe.network.drop_rate,
        stem_stride=recipe.network.stem_stride,
        operators=request.operators,
    )
    if request.weights is not None:
        load_weights(
            net,
            Path(request.weights.path),
            reset_classifier=recipe.weights.reset_classifier,
        )
    if recipe.precision.amp_level != "O0":
        net = mindspore.amp.auto_mixed_precision(net, recipe.precision.amp_level)
    return net


def _resume(run: RunDir, net: nn.Cell, optimizer: nn.Optimizer) -> Checkpoint | None:
    bundles = complete_bundles(run.checkpoints)
    if not bundles:
        return None
    restore(Path(bundles[-1].path), net, optimizer)
    return bundles[-1]


def _checkpoint_due(recipe: Recipe, epoch: int) -> bool:
    done = epoch + 1
    return done == recipe.training.epochs or done % recipe.training.checkpoint_every_epochs == 0
