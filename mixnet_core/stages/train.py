"""The stage `train`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from mixnet_core.checkpoints.bundle import (
    DAMAGED_PREFIX,
    complete_bundles,
    newest_bundle,
)
from mixnet_core.checkpoints.retention import clear_leftovers
from mixnet_core.data.unreadable import count_unreadable
from mixnet_core.errors import MixnetError, Stopped, TransientError
from mixnet_core.evaluate.job import patience_of, threads_of
from mixnet_core.model.native.choice import Operators, choose_operators
from mixnet_core.processes import stopping
from mixnet_core.processes.held_devices import devices_held
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.rules import NEWEST, said_of
from mixnet_core.runs.machine import this_machine
from mixnet_core.runs.records import begin, exclusive, finished, forget, key_of, write_record
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import TrainingTicks
from mixnet_core.runs.values import FetchedWeights, PreparedDataset, TrainedRun
from mixnet_core.stages.context import Context
from mixnet_core.stages.following import follow
from mixnet_core.stages.images_here import expect_images_here
from mixnet_core.stages.joint_work import Work
from mixnet_core.stages.keeping import kept_in_store
from mixnet_core.stages.leading import led
from mixnet_core.stages.made_from import Inputs, train_inputs
from mixnet_core.stages.prepare import another_dataset
from mixnet_core.stages.restarts import Restarts
from mixnet_core.stages.rewinding import Rewinding
from mixnet_core.stages.room import RoomNotice
from mixnet_core.stages.which_host import which_host
from mixnet_core.train.recorder import Recorder


def train(
    context: Context,
    dataset: PreparedDataset,
    weights: FetchedWeights | None,
    host: HostRanks | None = None,
) -> TrainedRun:
    """Trains to the recipe's last epoch, resuming from the newest complete checkpoint.

    After a failure that may pass it starts again by itself: at once where the attempt left a newer
    checkpoint, else after a pause, `devices.restarts` times in a row. Where training diverged,
    `training.on_divergence` says whether it goes back. Everything else is raised.

    On several hosts it is called on each, with the workspace on a disk that they share. Host 0
    leads; what it returns or raises, the others do too. As `devices.min_hosts` allows it goes on
    without some of them, and takes them back.

    With `devices.run_store` checkpoints are kept in a store too; a host that was not there before
    fetches them from there and goes on.

    Args:
        host: which of several hosts this one is (`stages.which_host`); None: there is one.

    Raises:
        InputError: the run was begun with another dataset or other weights, or the recipe is for
            several hosts and nothing says which this is, or another host's images are not here.
        TransientError: another process or host trains this run, another host has not joined, or
            the run's store does not answer as training begins.
        RunTaken: another host goes on with the run from its store.
        Stopped: it was asked to save and end; called again, it goes on from there.
        JobFailed: the child process failed; its `retryable` says whether again helps, after as many
            restarts as the recipe allows.
        MixnetError: as `train.loop.train` raises it.
    """
    recipe, run = context.recipe, context.run
    inputs = train_inputs(recipe, dataset, weights)
    ticks = TrainingTicks(context.watch)
    if host is not None and not host.leads:
        if _done(run, inputs) is None:
            expect_images_here(dataset, host)
        return _followed(recipe, run, inputs, host, ticks)
    with ExitStack() as stack:
        lock = stack.enter_context(exclusive(run))
        record = stack.enter_context(Recorder(recipe, run, ticks))
        if (done := _done(run, inputs)) is not None:
            return done
        # After that: what its hosts have trained may be selected and measured on one of them.
        ranks = host or which_host(recipe.devices, environment={})
        work = Work.training(recipe)
        leader = stack.enter_context(led(run, recipe, ranks, ticks.say, work))
        keeping = stack.enter_context(kept_in_store(run, recipe, inputs, ticks.say))
        otherwise = f"{another_dataset(dataset)} or other weights"
        begin(run, "train", key_of(**inputs), otherwise, dataset)
        forget(run, "train")
        if (said := said_of(recipe.rules or NEWEST)) is not None:
            ticks.say(said)
        clear_leftovers(run.checkpoints)
        restarts = Restarts(
            recipe.devices.restarts, ticks.say, partial(stopping.wait, run.attempts("train"))
        )
        room = RoomNotice(run.root, recipe.devices.full_disk_seconds, ticks.say)
        rewinding = Rewinding(recipe, run, dataset, ticks.say)
        rewinding.settle_before()
        newest, step = _newest(run, ticks)
        restarts.begin(step)
        # Over all attempts: in between another run would take them, perhaps for days.
        held = stack.enter_context(
            devices_held(recipe.devices.target, ranks.each, f"train of {run.name}", ticks.say)
        )
        while True:
            keeping.expect_own()
            leader.gather()
            # Of the hosts that are there.
            share = recipe.on_hosts(len(leader.ranks.at_work))
            request = TrainRequest(
                recipe=share,
                run_dir=str(run.root),
                dataset=dataset,
                weights=weights,
                threads=threads_of(recipe, ranks.each),
                operators=_training_operators(recipe),
                resume_from=str(newest) if newest else None,
                left_out=rewinding.left_out,
            )
            try:
                with leader.attempt():
                    result = run_job(
                        work.module,
                        request,
                        attempts=run.attempts("train"),
                        ranks=leader.ranks,
                        threads=recipe.fixed_threads or request.threads,
                        env=held.environment,
                        progress=run.metrics,
                        on_progress=keeping.noticing(record),
                        on_start=leader.start,
                        on_look=keeping.looking(leader.looking(room)),
                        keep_open=(lock, *held.handles),
                        patience=patience_of(recipe),
                        grace_seconds=recipe.devices.grace_seconds,
                    )
                break
            except Stopped:
                if not leader.goes_on:
                    raise
                newest, step = _newest(run, ticks)
                restarts.goes_on(step)
            except MixnetError as error:
                went_back = rewinding.settle(error)
                newest, step = _newest(run, ticks)
                if went_back:
                    restarts.begin(step)
                else:
                    restarts.after(error, step)
        unreadable = count_unreadable(run.unreadable)
        trained = TrainedRun.model_validate(result).model_copy(
            update={
                "unreadable": unreadable,
                "machine": this_machine(recipe.devices.target),
                "rewinds": rewinding.count,
                "left_out": rewinding.left_out,
            }
        )
        write_record(run, "train", inputs, trained)
        leader.end(trained.model_dump(mode="json"), None)
    return trained


def trained_already(
    context: Context, dataset: PreparedDataset, weights: FetchedWeights | None
) -> TrainedRun | None:
    """Returns what `train` would return without training; None where it would train."""
    return _done(context.run, train_inputs(context.recipe, dataset, weights))


def _done(run: RunDir, inputs: Inputs) -> TrainedRun | None:
    recorded = finished(run, "train", inputs, TrainedRun)
    there = recorded and set(recorded.checkpoints) <= set(complete_bundles(run.checkpoints))
    return recorded if there else None


def _followed(
    recipe: Recipe, run: RunDir, inputs: Inputs, ranks: HostRanks, ticks: TrainingTicks
) -> TrainedRun:
    """Trains as another host leads."""
    work = Work.training(recipe)
    result = follow(recipe, run, ranks, ticks.say, lambda: _done(run, inputs) is not None, work)
    trained = TrainedRun.model_validate_json(json.dumps(result)) if result else _done(run, inputs)
    if trained is None:
        raise TransientError(f"the training of run {run.name} went off record: start it again")
    return trained


def _newest(run: RunDir, ticks: TrainingTicks) -> tuple[Path | None, int]:
    """Finds the bundle to go on from and its step; says which newer ones were damaged."""
    newest = newest_bundle(run.checkpoints)
    for name in newest.damaged:
        ticks.say(f"checkpoint {name} is damaged: kept as {DAMAGED_PREFIX}{name}, not used")
    return newest.path, newest.step


def _training_operators(recipe: Recipe) -> Operators:
    # The native ones compute in float32 only.
    return (
        "plain"
        if recipe.precision.amp_level != "O0"
        else choose_operators(recipe.devices.operators, target=recipe.devices.target)
    )
