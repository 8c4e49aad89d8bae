"""Save and stop, on request: how the wish reaches every rank, and how all end after the same step.

    heeded           rank 0: a step is done, and from now on it looks for a request after each
    stop.json        the request: who wants it, and whether to go on again at once
    last-step.json   rank 0: the step after which every rank ends
    failure-0.json   rank 0: `errors.Stopped`, once the checkpoint is there

All are files of an attempt's folder, which reach ranks in sessions of their own and cost them a
look per step. The request is written by who calls the job when it is interrupted (`launch`), by
`mixnet drain`, and by the job's supervisor where the caller died or this machine's notice is there.
The supervisor ends what has not ended within `devices.grace_seconds`. Before a first step is done
there is nothing to save: then it ends the job at once.

MindSpore 2.10 has `mindspore.train.OnRequestExit` for this, a callback of `Model.train`. It does
not serve here: a rank answers a signal that msrun does not pass on; it agrees with the others by an
AllReduce of its own in a graph that the callback's users have to build with two more parameters;
and it saves the network alone, not what resuming bit for bit needs.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from mixnet_core.errors import InputError, IntegrityError, MixnetError, Stopped
from mixnet_core.processes import child
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.runs.run_dir import newest_attempt
from mixnet_core.storage.files import read_json, write_json

# In the environment: a file that is there once this machine will be taken away.
NOTICE_VARIABLE = "MIXNET_STOP_FILE"

REQUEST = "stop.json"
_HEEDED = "heeded"
_LAST_STEP = "last-step.json"
_GOES_ON = "the same command goes on from there"
# A rank that has done step n knows the loss of step n - 1, and so the weights that the AllReduce of
# step n - 2 made: rank 0 has begun that one. A CPU has done what was called. Were a rank further
# all the same, it would wait for rank 0 in an AllReduce until msrun ends it; nothing is lost.
_STEPS_AHEAD = 3
_STEPS_AHEAD_ON_CPU = 1
_LOOK_SECONDS = 0.2


class Request(BaseModel):
    """Says who wants a job to save and end.

    Attributes:
        reason: in a few words, for the message.
        retryable: whether whoever orchestrates it should start it again soon.
        goes_on: whether who started it goes on at once with another attempt.
        lost: the host, of several, whose caller is gone without a word: nobody wants an end, and
            host 0 waits for it again (`stages.leading`).
    """

    reason: str
    retryable: bool = False
    goes_on: bool = False
    lost: int | None = None

    @property
    def ends(self) -> bool:
        """Tells whether somebody wants the training to end, and not this attempt alone."""
        return not self.goes_on and self.lost is None


def ask(attempt: Path, reason: str, *, goes_on: bool = False) -> bool:
    """Asks a running attempt to save and end, unless somebody has.

    A wish that the training ends replaces one that it goes on, and what was written for a host that
    is lost.

    Args:
        attempt: its folder.
        reason: in a few words.
        goes_on: whether the caller goes on at once with another attempt.

    Returns:
        Whether it heeds requests, and has something to save.

    Raises:
        MachineError: its folder cannot be written.
    """
    before = requested(attempt)
    if before is None or not (before.ends or goes_on):
        write_json(attempt / REQUEST, Request(reason=reason, goes_on=goes_on).model_dump())
    return heeds(attempt)


def heeds(attempt: Path) -> bool:
    """Tells whether a running attempt looks for requests, as it does once a step is done.

    Args:
        attempt: its folder.
    """
    return (attempt / _HEEDED).exists()


def requested(attempt: Path) -> Request | None:
    """Returns what an attempt was asked; None if nothing.

    Args:
        attempt: its folder.
    """
    try:
        return Request.model_validate(read_json(attempt / REQUEST))
    except InputError:
        return None
    except (IntegrityError, ValidationError):
        return Request(reason="a file that cannot be read")


def take_back(attempt: Path) -> None:
    """Removes what an attempt was asked, so that it is not asked of the next one.

    Args:
        attempt: its folder.
    """
    with suppress(OSError):
        (attempt / REQUEST).unlink()


def answer(attempt: Path) -> str | None:
    """Returns what an attempt said that ended on request; None if it did not say so.

    Args:
        attempt: its folder.
    """
    try:
        failure = read_json(attempt / child.failure_file("0"))
        return str(failure["message"]) if failure["type"] == Stopped.__name__ else None
    except (InputError, IntegrityError, KeyError, TypeError):
        return None


def wait(attempts: Path, seconds: float) -> None:
    """Waits before the next attempt, as `time.sleep`, unless it is asked to stop meanwhile.

    Who asks then writes the request into the folder of the attempt that has ended.

    Args:
        attempts: the folder of all of them.
        seconds: at most.

    Raises:
        Stopped: it is asked.
    """
    ended, until = newest_attempt(attempts), time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        expect_none(ended)
        time.sleep(min(left, _LOOK_SECONDS))


def expect_none(ended: Path | None) -> None:
    """Makes sure that nobody has asked for an end since an attempt ended.

    Args:
        ended: its folder; None: there was none yet.

    Raises:
        Stopped: somebody has.
    """
    request = requested(ended) if ended is not None else None
    if request is not None and request.ends:
        raise Stopped(
            f"stopped on request ({request.reason}) between two attempts: earlier checkpoints "
            "are kept, the same command goes on from the newest",
            retryable=request.retryable,
        )


def unsaved(request: Request, error: MixnetError | None) -> Stopped:
    """Returns the error of an attempt that was asked to save and end, and saved nothing.

    Args:
        request: what it was asked.
        error: why it ended by itself; None: it was ended.
    """
    why = f" ({error})" if error else " within devices.grace_seconds"
    return Stopped(
        f"stopped on request ({request.reason}) before this attempt had a step saved{why}: "
        "earlier checkpoints are kept, the same command goes on from the newest",
        retryable=request.retryable,
    )


def supervisor_options(attempt: Path, ranks: HostRanks, grace_seconds: float) -> list[str]:
    """Returns what an attempt's supervisor has to know; see `supervisor`.

    Args:
        attempt: its folder.
        ranks: which are this host's.
        grace_seconds: what the job has to end by itself in.
    """
    options: dict[str, object] = {
        "--request": attempt / REQUEST,
        "--heeded": attempt / _HEEDED,
        "--answered": attempt / child.failure_file("0"),
        "--grace": grace_seconds,
    }
    # What saves nothing is not ended before its time either.
    if grace_seconds > 0 and (notice := os.environ.get(NOTICE_VARIABLE)):
        options["--notice"] = Path(notice).absolute()
    if not ranks.leads:
        options["--host"] = ranks.host
    return [text for pair in options.items() for text in map(str, pair)]


class StopRequests:
    """Looks for a request after every step of a rank; all ranks find the same last step.

    Rank 0 decides: with others it names a step that none of them has passed yet. Outside of an
    attempt there are no requests.

    Args:
        rank: of this process.
        ranks: how many there are.
        target: the device, as `recipe.Devices.target`.
    """

    def __init__(self, rank: int, ranks: int, target: str) -> None:
        self._decides = rank == 0
        self._ahead = 0
        if ranks > 1:
            self._ahead = _STEPS_AHEAD_ON_CPU if target == "CPU" else _STEPS_AHEAD
        attempt = os.environ.get(child.ATTEMPT_VARIABLE)
        self._attempt = None if attempt is None else Path(attempt)
        # As text: this is looked for after every step.
        self._looked_for = f"{attempt}/{REQUEST if self._decides else _LAST_STEP}"
        self._is_heeded = False
        self._last: int | None = None

    def end_after(self, step: int) -> bool:
        """Says whether this rank ends after a step, which it has done.

        Args:
            step: counted from 1 over the whole training.

        Raises:
            MachineError: the disk is full or not writable, on rank 0.
        """
        if self._attempt is None:
            return False
        if self._decides and not self._is_heeded:
            (self._attempt / _HEEDED).touch()
            self._is_heeded = True
        if self._last is None and os.path.exists(self._looked_for):  # noqa: PTH110
            self._last = self._decide(step) if self._decides else read_json(Path(self._looked_for))
        return self._last is not None and step >= self._last

    def stopped(self, step: int, checkpoints: Path) -> Stopped:
        """Returns the error to end with, once the step is saved.

        Args:
            step: the last one done.
            checkpoints: the folder that the checkpoint is in.
        """
        request = self._attempt and requested(self._attempt)
        reason, again = (request.reason, request.retryable) if request else ("", False)
        return Stopped(
            f"stopped on request ({reason}) after step {step}, checkpoint kept in {checkpoints}: "
            f"{_GOES_ON}",
            retryable=again,
        )

    def _decide(self, step: int) -> int:
        last = step + self._ahead
        if self._ahead and self._attempt is not None:
            write_json(self._attempt / _LAST_STEP, last)
        return last
