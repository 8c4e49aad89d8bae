"""Who has a run that is kept in a store: turns, of which the newest says it, and what is kept.

    turns/0000000017.json    made where nothing is, or not at all; see `Turn`

Whoever has the run makes the next turn every few seconds, and whenever there is more to keep. So
one object says who has the run and what the store has of it, and changes as a whole: nobody else
can make the same turn, and no file is kept of whose turn another host was first.

The clocks of hosts and stores are not compared. Who waits for a run counts by its own clock for how
long no turn was made, then makes the next one itself. An owner that was suspended for so long finds
its own next turn made by another, or others after it, and has lost the run. A turn that it makes
late, under a number that was cleared away meanwhile, is not the newest, and says nothing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from mixnet_core.errors import InputError, IntegrityError, RunTaken, TransientError
from mixnet_core.runs.pulse import Silence
from mixnet_core.runs.values import Value
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.trial import require_refusal
from mixnet_core.storage.uris import shown

FOLDER = "turns"
_DIGITS = 10
_POLL_SECONDS = 1.0
# A turn that was listed may be cleared away before it is read.
_LOOKS = 5


class Turn(Value):
    """Is what an object in the store says.

    Attributes:
        owner: whose turn it is: another one for each call that works on the run.
        place: tells the folder of the run that it works in; "" until that has what is kept.
        host, pid: of the owner, for messages.
        term: counts owners, from 1.
        ended: whether its owner has let go of the run.
        told: what every owner has to be told alike, in words of the recipe.
        attempts: number of the newest attempt of training.
        kept: path in the run's folder -> key in the store, whose last part is the sha256.
    """

    format: Literal[1] = 1
    owner: str
    place: str
    host: str
    pid: int
    term: int
    ended: bool = False
    told: dict[str, str | None]
    attempts: int = 0
    kept: dict[str, str] = Field(default_factory=dict)

    @property
    def named(self) -> str:
        """Names the owner, for a message."""
        return f"host {self.host} (pid {self.pid})"


class Held:
    """Makes the turns of a run that this process has; any of its threads may.

    Attributes:
        lost: why nothing more is kept, once another host has the run.
    """

    def __init__(self, storage: Storage, run: str, number: int, turn: Turn) -> None:
        self._storage, self._run, self._number = storage, run, number
        self._turn = turn
        self._lock = threading.Lock()
        self.lost: RunTaken | None = None

    @property
    def turn(self) -> Turn:
        """Returns the newest turn that was made."""
        return self._turn

    def advance(self, **changes: Any) -> None:
        """Makes the next turn, as the last one but for the changes.

        Raises:
            RunTaken: another host has the run.
            MixnetError: as `Storage.create`; it may be made all the same, and the next call finds
                out.
        """
        with self._lock:
            if self.lost is not None:
                raise self.lost
            turn = self._turn.model_copy(update=changes)
            while not self._storage.create(_key(self._number + 1), _content(turn)):
                theirs = _read(self._storage, self._number + 1)
                if theirs is None or theirs.owner != turn.owner:
                    raise self._lose(theirs)
                # It was made, and the answer was lost.
                self._number += 1
            numbers = _numbers(self._storage)
            if numbers[-1:] != [self._number + 1]:
                raise self._lose(_read(self._storage, numbers[-1]) if numbers else None)
            self._number, self._turn = self._number + 1, turn
            # One is left, for who has listed it and is about to read it.
            for number in numbers[:-2]:
                self._storage.remove(_key(number))

    def _lose(self, theirs: Turn | None) -> RunTaken:
        who = theirs.named if theirs else "another host"
        self.lost = RunTaken(
            f"{who} goes on with run {self._run} in {shown(self._storage.uri)}: this host was "
            "silent for too long, as when it was suspended or cut off, and keeps nothing there "
            "any more; let the other one go on"
        )
        return self.lost


def take(
    storage: Storage,
    run: str,
    *,
    place: str,
    told: Mapping[str, str | None],
    say: Callable[[str], None],
    lost_seconds: float,
    wait_seconds: float,
) -> tuple[Held, bool]:
    """Takes a run, from nobody, from who let go of it, or from who is lost.

    Args:
        storage: of the run: nothing else is in it.
        run: its name, for messages.
        place: of the run's folder, which no other process works in now: who had the run there
            before is gone.
        told: as `Turn.told`.
        say: is told what it waits for, in a line.
        lost_seconds: who makes no turn for so long is lost.
        wait_seconds: how long to wait for an owner that lives.

    Returns:
        The run, and whether its folder was the last owner's too: otherwise what is kept in the
        store is newer than whatever the folder has, and `Turn.place` is for the caller to say.

    Raises:
        InputError: it was begun otherwise than `told`.
        TransientError: another host has it, and lives.
        IntegrityError: a turn is damaged.
        MachineError: the store does not refuse to overwrite.
        MixnetError: as `Storage.create`.
    """
    watched, silence = "", Silence(None)
    deadline = time.monotonic() + wait_seconds
    while True:
        number, last = newest_turn(storage)
        if last is not None:
            _expect_alike(storage, run, last, told)
            if not last.ended and not _is_of(last, place):
                if last.owner != watched:
                    watched, silence = last.owner, Silence(number)
                    say(f"waiting for {last.named}, which has run {run} or had it")
                if silence.after(number) < lost_seconds:
                    if silence.has_grown and time.monotonic() > deadline:
                        raise TransientError(
                            f"{last.named} works on run {run} in {shown(storage.uri)}: wait until "
                            "it has ended, or choose another run name"
                        )
                    time.sleep(min(_POLL_SECONDS, lost_seconds / 4))
                    continue
        at_home = last is None or _is_of(last, place)
        turn = Turn(
            owner=uuid.uuid4().hex,
            place=place if at_home else "",
            host=socket.gethostname(),
            pid=os.getpid(),
            term=last.term + 1 if last else 1,
            told=dict(told),
            attempts=last.attempts if last else 0,
            kept=last.kept if last else {},
        )
        if storage.create(_key(number + 1), _content(turn)):
            # One that overwrites what is there would let two have the run.
            require_refusal(storage, _key(number + 1), _content(turn))
            return Held(storage, run, number + 1, turn), at_home


def newest_turn(storage: Storage) -> tuple[int, Turn | None]:
    """Returns the newest turn of a run, and its number; 0 and None where there is none.

    Raises:
        IntegrityError: it is damaged.
        TransientError: turns are made faster than they are read.
        MixnetError: as `Storage.read`.
    """
    for _ in range(_LOOKS):
        numbers = _numbers(storage)
        if not numbers:
            return 0, None
        turn = _read(storage, numbers[-1])
        if turn is not None:
            return numbers[-1], turn
    raise TransientError(f"{shown(storage.uri)}/{FOLDER} changes too fast to be read: try again")


def _is_of(last: Turn, place: str) -> bool:
    """Tells whether a folder is the last owner's; a copy of it on another host is not."""
    return (last.place, last.host) == (place, socket.gethostname())


def _expect_alike(storage: Storage, run: str, last: Turn, told: Mapping[str, str | None]) -> None:
    names = [*told, *(name for name in last.told if name not in told)]
    others = [name for name in names if told.get(name) != last.told.get(name)]
    if others:
        raise InputError(
            f"run {run} in {shown(storage.uri)} was begun with another {' and '.join(others)}: "
            "choose another run name, or delete it there"
        )


def _numbers(storage: Storage) -> list[int]:
    stems = (name.removesuffix(".json") for name in storage.names(FOLDER))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def _read(storage: Storage, number: int) -> Turn | None:
    """Reads a turn; None where it is not there any more."""
    key = _key(number)
    try:
        return Turn.model_validate_json(storage.read(key))
    except ValidationError as error:
        raise IntegrityError(
            f"{shown(storage.uri)}/{key} is no turn of a run ({error.error_count()} faults): "
            "delete it, and the one before is taken"
        ) from None
    except InputError:
        if storage.exists(key):
            raise
        return None


def _key(number: int) -> str:
    return f"{FOLDER}/{number:0{_DIGITS}d}.json"


def _content(turn: Turn) -> bytes:
    return turn.model_dump_json(indent=2).encode() + b"\n"
