"""A training whose checkpoints are kept in a store too, where another host can go on from them.

A thread makes the run's turns, as a sign of life; another one sends what is new after each
checkpoint. Training waits for neither, but for the last checkpoint, at its end. A store that does
not answer is said in a line and tried again: training goes on, and only what is kept falls behind.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mixnet_core.checkpoints.run_copy import LEFT_BEHIND_PREFIX, RunCopy
from mixnet_core.errors import MixnetError, RunTaken
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.rules import NEWEST
from mixnet_core.runs.records import LOCK_SECONDS
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.turns import Held, take
from mixnet_core.stages.made_from import Inputs
from mixnet_core.storage.files import os_errors_explained, write_text
from mixnet_core.storage.open import open_storage

# So long a finished training waits for its last checkpoint to be kept; a stopped one has its grace.
_LAST_SECONDS = 120.0
_SECONDS_BETWEEN_TRIES = 10.0
_SECONDS_AT_THE_END = 1.0
# So many turns fit into the time after which a host is lost.
_TURNS = 6
_LONGEST_BETWEEN_TURNS = 10.0
# An attempt may begin from another checkpoint than the last one ended with.
_NEWS = ("start", "checkpoint", "score")

Look = Callable[[Path], None]
Row = dict[str, Any]


class Keeping:
    """Keeps a run in its store; does nothing where it has none.

    Args:
        held: the run's turns, and
        copy: of its files; None: it has no store.
        say: is told what goes on, in a line, in the thread that calls.

    Attributes:
        over: nothing more is sent: all was, or it is given up.
    """

    def __init__(
        self,
        held: Held | None = None,
        copy: RunCopy | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._held, self._copy, self._say = held, copy, say
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        # There is something to send; nothing comes after it.
        self._news, self._ends, self.over = (threading.Event() for _ in range(3))
        self._fails = self._all_sent = False
        if held is not None and copy is not None:
            # What the folder has from before it had a store.
            self._news.set()
            # As daemons: a store that does not answer holds up no end of the process.
            threading.Thread(target=self._send, args=(held, copy), daemon=True).start()

    def expect_own(self) -> None:
        """Says what the threads have to say, and makes sure that the run is still this host's.

        Raises:
            RunTaken: another host has it.
        """
        with suppress(queue.Empty):
            while True:
                self._say(self._lines.get_nowait())
        if self._held is not None and self._held.lost is not None:
            raise self._held.lost

    def noticing(self, then: Callable[[Row], None]) -> Callable[[Row], None]:
        """Returns what has checkpoints sent as soon as a row tells of them."""

        def notice(row: Row) -> None:
            then(row)
            if row["event"] in _NEWS:
                self._news.set()

        return notice

    def looking(self, then: Look) -> Look:
        """Returns what looks whether the run is still this host's; for `run_job`'s `on_look`."""

        def look(attempt: Path) -> None:
            then(attempt)
            self.expect_own()

        return look

    def end(self, seconds: float) -> None:
        """Sends what is new and lets go of the run; gives up after so many seconds."""
        if self._held is None or self._copy is None:
            return
        self._ends.set()
        self._news.set()
        self.over.wait(seconds)
        self.over.set()
        with suppress(RunTaken):
            self.expect_own()
            if not self._all_sent:
                self._say(
                    f"the run's store does not have all yet, its newest is step "
                    f"{self._copy.newest}: the same command, here, brings the rest there"
                )

    def _send(self, held: Held, copy: RunCopy) -> None:
        while self._news.wait() and held.lost is None and not self.over.is_set():
            self._news.clear()
            ends = self._ends.is_set()
            try:
                copy.send()
                if ends:
                    held.advance(ended=True)
            except RunTaken:
                break
            except Exception as error:
                # Whatever it is, it ends no training.
                self._failed(error)
                self._news.set()
                wakes = self.over if ends else self._ends
                wakes.wait(_SECONDS_AT_THE_END if ends else _SECONDS_BETWEEN_TRIES)
                continue
            if self._fails:
                self._fails = False
                self._lines.put(f"kept in the store again, up to step {copy.newest}")
            self._all_sent = ends
            if ends:
                break
        self.over.set()

    def _failed(self, error: Exception) -> None:
        if not self._fails:
            self._fails = True
            said = error if isinstance(error, MixnetError) else repr(error)
            self._lines.put(
                f"checkpoints are not kept in the store for now, tried again every "
                f"{_SECONDS_BETWEEN_TRIES:g} s: {said}"
            )


@contextmanager
def kept_in_store(
    run: RunDir, recipe: Recipe, inputs: Inputs, say: Callable[[str], None]
) -> Iterator[Keeping]:
    """Keeps a run's training in the recipe's store for the block, if it names one.

    What another host kept there since is fetched first. The run's lock is held.

    Args:
        inputs: of training, as `stages.made_from.train_inputs`.
        say: is told what goes on, in a line.

    Raises:
        InputError: the run there was begun otherwise; the recipe names no store.
        TransientError: another host works on the run, or the store does not answer.
        IntegrityError: what is kept there is damaged.
        MixnetError: as `storage.Storage` raises it.
    """
    if recipe.devices.run_store is None:
        yield Keeping()
        return
    storage = open_storage(f"{recipe.devices.run_store.rstrip('/')}/{run.name}")
    place = _place(run)
    lost = recipe.devices.lost_seconds
    held, at_home = take(
        storage,
        run.name,
        place=place,
        told=_told(recipe, inputs),
        say=say,
        lost_seconds=lost,
        wait_seconds=LOCK_SECONDS,
    )
    copy = RunCopy(run, storage, held)
    with _turns_made(held, lost):
        if not at_home:
            try:
                _fetch(run, copy, held, say)
            except BaseException:
                # Whoever comes next need not wait.
                with suppress(Exception):
                    held.advance(ended=True)
                raise
            held.advance(place=place)
        keeping = Keeping(held, copy, say)
        try:
            yield keeping
        except BaseException:
            keeping.end(recipe.devices.grace_seconds)
            raise
        keeping.end(_LAST_SECONDS)


@contextmanager
def _turns_made(held: Held, lost_seconds: float) -> Iterator[None]:
    """Makes the run's turns for the block, from a thread of its own."""
    between = min(lost_seconds / _TURNS, _LONGEST_BETWEEN_TURNS)
    over = threading.Event()

    def make_turns() -> None:
        while not over.wait(between) and held.lost is None:
            # What fails is told by the one that sends, or is silence, which is what it means.
            with suppress(Exception):
                held.advance()

    threading.Thread(target=make_turns, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _fetch(run: RunDir, copy: RunCopy, held: Held, say: Callable[[str], None]) -> None:
    """Makes the run's folder what another host kept last, if it kept anything."""
    if not held.turn.kept:
        return
    say(f"fetching run {run.name} from its store, up to step {copy.newest}")
    for line in copy.fetch():
        say(f"{line}; not used")
    if left := sorted(path.name for path in run.checkpoints.glob(f"{LEFT_BEHIND_PREFIX}*")):
        say(f"not gone on from, as another host did since: {', '.join(left)}")


def _told(recipe: Recipe, inputs: Inputs) -> Mapping[str, str | None]:
    """Returns what all hosts have to be told alike; its keys are said to people."""
    return {**inputs, "rules": str(recipe.rules or NEWEST)}


def _place(run: RunDir) -> str:
    """Returns what tells a run's folder from all others of the run, which it keeps."""
    with os_errors_explained(run.place, "read"):
        if run.place.is_file() and (known := run.place.read_text(encoding="ascii").strip()):
            return known
    place = uuid.uuid4().hex
    write_text(run.place, place + "\n")
    return place
