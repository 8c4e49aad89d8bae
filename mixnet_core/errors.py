"""The one exception tree. A type says who has to act, the exit code and whether again helps.

    MixnetError
    ├── InputError            2  the caller's mistake: an option, a name, a path
    │   ├── RecipeError          a recipe's key or value
    │   ├── DatasetError         a dataset that is missing, empty or not what the recipe expects
    │   ├── ReleaseMissing       a release, or a file of it, that is not there any more
    │   └── RunTaken             another host goes on with a run that is kept in a store
    ├── MachineError          3  this machine lacks something: permission, disk, device, package
    ├── IntegrityError        4  bytes are not what they should be
    │   ├── DigestMismatch       sha256 differs from the published one
    │   └── CheckpointMismatch   parameter names or shapes differ from the network's
    ├── ReleaseConflict       5  another release already has this name
    ├── JobFailed             6  a child process failed; its `retryable` says whether again helps
    │   └── Diverged             training's loss or weights are no numbers, or its loss leapt
    ├── TransientError        7  the network or a service failed; again helps
    ├── NotAccepted           8  measured, and not good enough to be published
    └── Stopped              75  a job was asked to save and end, and did

Messages are one line: what was got, what was expected, what to do.
"""

from __future__ import annotations

EXIT_CODES = {
    0: "done",
    2: "a mistake in what was asked",
    3: "this machine lacks something",
    4: "bytes are not what they should be",
    5: "another release has the name",
    6: "a job failed",
    7: "the network or a service failed, try again",
    8: "not accepted",
    75: "stopped on request, the same command goes on",
    130: "interrupted",
    143: "terminated",
}


class MixnetError(Exception):
    """Base of everything this project raises on purpose.

    Attributes:
        retryable: whether the same call may succeed later with nothing changed by the user.
        exit_code: what the `mixnet` command ends with.
    """

    retryable: bool = False
    exit_code: int = 1

    def __str__(self) -> str:
        return visible(super().__str__())


class InputError(MixnetError):
    exit_code = 2


class RecipeError(InputError):
    pass


class DatasetError(InputError):
    pass


class UnusableImage(DatasetError):
    """A file that was taken for an image cannot be decoded. Preparing goes on, and tells them all.

    Attributes:
        file: its path.
        reason: in a few words.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return visible(f"{self.file} cannot be used ({self.reason}): replace or remove it")


class ReleaseMissing(InputError):
    pass


class RunTaken(InputError):
    """Another host goes on with the run: this one ends, and is not to be started again by itself.

    Nothing that this host does reaches the run's store any more.
    """


class MachineError(MixnetError):
    exit_code = 3


class IntegrityError(MixnetError):
    exit_code = 4


class DigestMismatch(IntegrityError):
    """Expected and actual digest differ. Not retryable: a wrong file stays wrong."""


class CheckpointMismatch(IntegrityError):
    pass


class ReleaseConflict(MixnetError):
    exit_code = 5


class JobFailed(MixnetError):
    """A job, which is a supervised child process, did not finish.

    `retryable` is the instance's: a killed worker may succeed again, a diverged loss will not.

    Attributes:
        of_peer: whether it only missed another rank, which may tell more.
    """

    exit_code = 6

    def __init__(self, message: str, *, retryable: bool, of_peer: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.of_peer = of_peer


class Diverged(JobFailed):
    """Training's loss or weights are no numbers any more, or its loss leapt.

    Attributes:
        facts: JSON values for whoever goes back: "batches", steps whose batches may have done it,
            the earliest first, and "what" was seen.
    """

    def __init__(self, message: str, *, batches: tuple[int, ...] = (), what: str = "") -> None:
        super().__init__(message, retryable=False)
        self.facts = {"batches": list(batches), "what": what}


class TransientError(MixnetError):
    retryable = True
    exit_code = 7


class NotAccepted(MixnetError):
    exit_code = 8


class Stopped(MixnetError):
    """Somebody asked a job to save what it did and to end: it is no failure.

    The same call goes on from there. `retryable` is the instance's, and says whether it should at
    once: what a person stopped it should not.
    """

    # EX_TEMPFAIL of sysexits.h: nothing is wrong, call again later.
    exit_code = 75

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


def visible(text: str) -> str:
    """Writes out what is no letter, on one line: a name in a file may hold anything.

    A terminal would obey it, and what is no UTF-8 can neither be printed nor kept in a database.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
