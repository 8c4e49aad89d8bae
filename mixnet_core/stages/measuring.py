"""Measuring with all hosts that are there: host 0's stage leads, each image is one host's.

Nothing depends on them: without one that is missing or fails the others measure its images too, and
host 0 alone all of them. A process that trains on for days is lost with its host; what is measured
here takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from mixnet_core.errors import MixnetError, TransientError
from mixnet_core.evaluate.job import Measured, Together, measure, workers_of
from mixnet_core.processes.held_devices import HeldDevices, devices_held
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.ticks import Tick, Watch
from mixnet_core.runs.values import PreparedDataset, Value
from mixnet_core.stages.context import Context
from mixnet_core.stages.following import follow
from mixnet_core.stages.joint_work import Work
from mixnet_core.stages.leading import Leader, led

# A host that trained a moment ago joins within seconds; alone it is measured in minutes.
_JOIN_SECONDS = 30.0

Say = Callable[[str], None]
Found = TypeVar("Found", bound=Value)


class Measuring:
    """Measures weights files of a run, with other hosts if there are any.

    Args:
        stage: its name.
        lock: file descriptor of the run's lock.
        leader: of the hosts; None: there is one.
        held: this host's devices; None: each measurement holds its own.

    Attributes:
        held: as given: whoever computes in between is not to wait for them.
    """

    def __init__(
        self,
        context: Context,
        dataset: PreparedDataset,
        stage: str,
        lock: int,
        leader: Leader | None = None,
        held: HeldDevices | None = None,
    ) -> None:
        self._context, self._dataset, self._stage = context, dataset, stage
        self._lock, self._leader, self.held = lock, leader, held
        self._alone = leader is None

    def __call__(self, files: Sequence[Path], split: str) -> Measured:
        """Has each file predict every image of a split once, as `evaluate.job.measure`.

        Raises:
            TransientError: another host leads the run by now.
            MixnetError: as `evaluate.job.measure`.
        """
        if not self._alone and self._leader is not None:
            try:
                return self._together(self._leader, files, split)
            except MixnetError as error:
                self._leader.expect_lease()
                # Whatever it was: what this host's own ranks raised they raise again.
                say_of(self._stage, self._context.watch)(f"measuring on this host alone: {error}")
                self._alone = True
        return self._measure(files, split, None)

    def _together(self, leader: Leader, files: Sequence[Path], split: str) -> Measured:
        leader.gather()

        def ignore(attempt: Path) -> None:
            return

        look = leader.looking(ignore)
        together = Together(leader.ranks, leader.start, look, leader.wait_for_others)
        with leader.attempt():
            return self._measure(files, split, together)

    def _measure(self, files: Sequence[Path], split: str, together: Together | None) -> Measured:
        context = self._context
        return measure(
            context.recipe,
            self._dataset,
            files,
            split=split,
            stage=self._stage,
            attempts=context.run.attempts(self._stage),
            together=together,
            held=self.held,
            keep_open=(self._lock,),
            watch=context.watch,
        )

    def end(self, found: Value) -> None:
        """Tells the other hosts what the stage found, which is on record."""
        if self._leader is not None:
            self._leader.end(found.model_dump(mode="json"), None)


@contextmanager
def measuring(
    context: Context, dataset: PreparedDataset, stage: str, host: HostRanks | None, lock: int
) -> Iterator[Measuring]:
    """Yields what measures for a stage; other hosts are led for the block.

    Args:
        host: this host's ranks in training, which leads; None: there is one host.

    Raises:
        TransientError: another host leads the run.
        MachineError: the run's folder cannot be written.
    """
    if host is None:
        yield Measuring(context, dataset, stage, lock)
        return
    recipe, say = context.recipe, say_of(stage, context.watch)
    ranks, work = ranks_to_measure(recipe, host), _work(stage, host)
    for_work = f"{stage} of {context.run.name}"
    # First, and without a limit, as on one host: who leads has all that it needs.
    with (
        devices_held(recipe.devices.target, ranks.each, for_work, say) as held,
        led(context.run, recipe, ranks, say, work) as leader,
    ):
        yield Measuring(context, dataset, stage, lock, leader, held)


def measured_as_led(
    context: Context,
    stage: str,
    host: HostRanks,
    kind: type[Found],
    on_record: Callable[[], Found | None],
) -> Found:
    """Measures with this host's part of the images, as host 0 plans it.

    Args:
        host: this host's ranks in training.
        kind: of what the stage finds.
        on_record: returns that, once it is on record.

    Returns:
        What host 0 found.

    Raises:
        TransientError: what was found is not on record any more.
        MixnetError: as `stages.following.follow`.
    """
    recipe, say = context.recipe, say_of(stage, context.watch)
    ranks = ranks_to_measure(recipe, host)
    result = follow(
        recipe, context.run, ranks, say, lambda: on_record() is not None, _work(stage, host)
    )
    found = kind.model_validate_json(json.dumps(result)) if result else on_record()
    if found is None:
        raise TransientError(f"{stage} of run {context.run.name} went off record: start it again")
    return found


def ranks_to_measure(recipe: Recipe, host: HostRanks) -> HostRanks:
    """Returns a host's ranks in measuring: on a CPU it is one, which takes all cores."""
    return replace(host, each=workers_of(recipe))


def say_of(stage: str, watch: Watch) -> Say:
    """Returns what tells a watcher of a stage a line."""

    def say(text: str) -> None:
        watch(Tick(stage, 0, None, "img", detail=text, milestone=True))

    return say


def _work(stage: str, host: HostRanks) -> Work:
    return Work(
        stage,
        "mixnet_core.evaluate",
        range(1, host.hosts + 1),
        min(_JOIN_SECONDS, host.join_seconds),
        "measuring without {}",
        counts_alone=True,
        # By which some images' last bits differ.
        told={"openvino": version("openvino") if find_spec("openvino") else "none"},
    )
