"""The training loop, as every rank runs it.

One training step passes through these modules, in this order:

    loop       takes the step's micro-batches from `data.batches`
    learner    puts them on the device, with what `dropout` leaves out of each
    step       computes loss and gradients of each micro-batch, and adds the gradients up
    update     makes new weights of them: mean over ranks, loss scale, clipping, optimizer, averages
    joined     serves update: all gradients as one long vector, so one AllReduce does for them all
    virtual_step   stands for step where the recipe has virtual ranks; `summing` has its order
    progress   counts the step, checks the loss of the one before, writes rows of metrics

Forward pass, gradients and update of one micro-batch are one compiled graph; of several, a graph
that runs once per micro-batch and one for the update. After the step the loop gives a sign of life
(`processes.child.beat`), and where a checkpoint is due `progress` has the learner save one. It asks
`processes.stopping` then whether somebody wants training to end here for now.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

import mindspore

from mixnet_core.checkpoints.bundle import Division, read_contents
from mixnet_core.data.batches import steps_per_epoch, training_batches
from mixnet_core.data.index import read_index
from mixnet_core.data.unreadable import UnreadableImages
from mixnet_core.model.ranks import Ranks, average_gradients, join_ranks
from mixnet_core.processes.child import beat, slow_at_first
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.processes.stopping import StopRequests
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import TrainedRun
from mixnet_core.train.graph_cache import GraphCache
from mixnet_core.train.learner import Learner
from mixnet_core.train.progress import Progress
from mixnet_core.train.schedule import learning_rates
from mixnet_core.train.scorer import Scorer

T = TypeVar("T")


def train(request: TrainRequest) -> TrainedRun:
    """Trains from the request's bundle, or from the beginning, to the recipe's last epoch.

    Args:
        request: the same on every rank.

    Returns:
        What training left; `checkpoints` on rank 0 only, the one whose result is kept.

    Raises:
        CheckpointMismatch: the weights or the bundle do not fit the network.
        IntegrityError: the bundle is damaged.
        Diverged: the loss or a weight is not finite, or the loss leapt.
        JobFailed: the loss is no better than guessing.
        MachineError: the device is not there, or the disk is full or not writable.
        Stopped: it was asked to; on every rank after the same step.
        MixnetError: as `data.index.read_index` and `data.batches.training_batches` raise it.
    """
    began = time.monotonic()
    recipe, run = request.recipe, RunDir(Path(request.run_dir))
    ranks = join_ranks(recipe.devices.target, recipe.ranks, each=recipe.devices.ranks)
    average_gradients(ranks)
    index = read_index(Path(request.dataset.root), "train")
    # No two hosts append to one file: on a network's disk one would overwrite the other's rows.
    unread = run.unreadable_on(ranks.rank // recipe.devices.ranks)
    unreadable = UnreadableImages(unread, recipe.data.max_unreadable, ranks.rank)
    classes = len(request.dataset.classes)
    rates = learning_rates(
        recipe.schedule,
        steps_per_epoch=steps_per_epoch(len(index.paths), recipe),
        epochs=recipe.training.epochs,
        factor=recipe.lr_factor,
    )
    learner = Learner(recipe, request, ranks, rates)
    score = Scorer(recipe, request, ranks) if recipe.scores_in_training else None
    bundle = Path(request.resume_from) if request.resume_from else None
    resumed_from = read_contents(bundle) if bundle else None
    if bundle:
        learner.restore(bundle)

    with GraphCache(run, request, ranks, recipe.devices.target) as graph_cache:
        progress = Progress(
            recipe,
            run,
            ranks,
            classes=classes,
            rates=rates,
            resumed_from=resumed_from,
            division=_division(recipe, request, ranks),
            graph_cached=graph_cache.warm,
            left_out=request.left_out,
        )
        # The first sign of life: the step that comes next compiles, and may take far longer than
        # any after it.
        beat()
        requests, ends = StopRequests(ranks.rank, ranks.count, recipe.devices.target), False
        for epoch in range(progress.epoch, recipe.training.epochs):
            batches = training_batches(
                index,
                recipe,
                classes=classes,
                epoch=epoch,
                rank=ranks.rank,
                threads=request.threads,
                first_step=progress.epoch_step,
                unreadable=unreadable,
            )
            with closing(batches):
                awaited = progress.data_wait.counted(slow_at_first(batches))
                for micro_batches in _grouped(awaited, recipe.accumulation):
                    if not progress.leaves_out():
                        step = progress.epoch_step
                        progress.stepped(*learner.step(micro_batches, epoch=epoch, step=step))
                        graph_cache.keep()
                        # Not of one that is left out: what compiles comes after it.
                        beat()
                        progress.score_missed(score)
                    ends = requests.end_after(progress.step)
                    if progress.save_due(ends=ends):
                        progress.save(learner.save)
                        if ends:
                            raise requests.stopped(progress.step, run.checkpoints)
            progress.finished()
            if progress.save_due(ends=ends):
                progress.save(learner.save, score)
            if ends and progress.epoch < recipe.training.epochs:
                raise requests.stopped(progress.step, run.checkpoints)
        progress.score_missed(score)
    return progress.result(began)


def _division(recipe: Recipe, request: TrainRequest, ranks: Ranks) -> Division:
    return Division(
        ranks=recipe.shares,
        accumulation=1 if recipe.training.virtual_ranks else recipe.accumulation,
        threads=recipe.fixed_threads or request.threads,
        operators=request.operators,
        target=recipe.devices.target,
        mindspore=mindspore.__version__,
    )


def _grouped(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while group := list(islice(items, size)):
        yield group
