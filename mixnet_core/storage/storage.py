"""The storage of released files: what every one can do.

A key is a relative path with forward slashes below the place that was opened. Secrets are never
parameters: see each scheme in `storage.schemes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from mixnet_core.errors import InputError, IntegrityError, MachineError
from mixnet_core.storage.uris import shown

CHUNK_BYTES = 1 << 20

_MD5 = re.compile(r"[0-9a-f]{32}")

OnBytes = Callable[[int, "int | None"], None]
"""Called while bytes arrive: how many there are so far, and how many in all if that is known."""


class Stored(NamedTuple):
    """Describes an object that is stored, or the beginning of one.

    Attributes:
        key: of the object; of a beginning, the key that it was to have.
        bytes: its size; of a beginning, 0 where the store does not say it.
        modified: when it was written, or begun: seconds since 1970 by the store's clock.
        upload: tells beginnings of one key apart; "" for an object.
    """

    key: str
    bytes: int
    modified: float
    upload: str = ""


class Listed(NamedTuple):
    """Describes an object of a store as it was when the store was listed.

    Attributes:
        key: below the place that was listed; a marker of a folder ends in a slash.
        bytes: its size.
        etag: the service's, without the quotes around it.
        modified: when it was written: seconds since 1970 by the store's clock.
    """

    key: str
    bytes: int
    etag: str
    modified: float

    @property
    def version(self) -> str:
        """Returns what is another one as soon as the content is.

        That is the ETag where it looks like an MD5, so that a copy of the same bytes is the same.
        Others are no matter of the content everywhere: some services have one for all objects.
        """
        return self.etag if _MD5.fullmatch(self.etag) else f"{self.etag} {self.modified!r}"


class Objects(Protocol):
    """Offers what a mirror of a store's place needs (`storage.mirror`); each raises as `Storage`.

    Attributes:
        uri: of the place, canonical, without a slash at the end.
        address: of the service, for two may have buckets of one name.
    """

    uri: str
    address: str

    def objects(self, most: int | None = None, beginning: str = "") -> list[Listed]:
        """Lists every object below the place by key, hidden ones and folders' markers too.

        Args:
            most: stop with the page that has this many; None: all.
            beginning: only keys that begin so.
        """
        ...

    def stands_at(self) -> bool:
        """Tells whether the place itself is an object, as `s3://bucket/file.tar` may be."""
        ...

    def receive(
        self,
        listed: Listed,
        begin: Callable[[], None],
        write: Callable[[bytes], object],
        *,
        start: int = 0,
        length: int | None = None,
    ) -> bool:
        """Reads an object, or a stretch of it, as long as it is the one that was listed.

        Args:
            begin: called before the first byte of each attempt.
            write: is given each piece.
            start, length: of the stretch, bytes; None: to the end.

        Returns:
            False where the object is another one by now, or gone: what was written is none.
        """
        ...


class Storage(Protocol):
    """Offers the verbs that publishing and fetching need.

    Every method raises:
        InputError: a key that leaves the place, a bucket that does not exist.
        MachineError: no permission, no or wrong credentials, a full disk.
        TransientError: the service does not answer or is overloaded.
    """

    uri: str
    """Canonical, without a slash at the end."""

    single_writer: bool
    """The user says that nobody else writes here: `create` does without what the store lacks."""

    def is_there(self) -> bool:
        """Tells whether the place exists; an empty prefix of a bucket does not."""
        ...

    def read(self, key: str) -> bytes:
        """Reads a small object's content.

        Raises:
            InputError: there is none.
        """

    def exists(self, key: str) -> bool:
        """Tells whether there is an object at `key`."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """Lists the names directly in a folder, sorted; [] if it is missing.

        Names of folders end in a slash.
        """

    def listed(self, folder: str = "") -> list[Stored]:
        """Lists all objects in a folder and below it, by key; [] if it is missing.

        Folders whose names begin with a dot are passed over: they are somebody else's.
        """

    def is_link(self, folder: str) -> bool:
        """Tells whether a folder is a link, so that what is in it is another place's too."""
        ...

    def now(self) -> float:
        """Returns the time of the clock that `Stored.modified` is by: seconds since 1970."""
        ...

    def unfinished(self) -> list[Stored]:
        """Lists what uploads began and did not end, by key; some may be at work still."""

    def give_up(self, begun: Stored) -> bool:
        """Removes what a broken-off upload left, unless a living process is known to hold it.

        Returns:
            Whether it is gone.
        """
        ...

    def upload(
        self,
        path: Path,
        key: str,
        sha256: str,
        on_bytes: OnBytes | None = None,
        *,
        reread: bool = False,
    ) -> bool:
        """Puts a file at `key`; what is there already with this digest is left alone.

        On return the stored bytes are known to be right: by a digest that the store verified, else
        by reading them back. Which it was is logged at debug level.

        Args:
            on_bytes: told of progress, in this thread; nothing where nothing is transferred.
            reread: whether what is there already is known by its bytes only, and not by a digest
                that the store took of them as they came: to find what was damaged since.

        Returns:
            Whether anything was transferred.

        Raises:
            IntegrityError: the file is not what `sha256` (hex) says, or was stored wrongly.
        """

    def download(self, key: str, target: Path, on_bytes: OnBytes | None = None) -> str:
        """Copies an object to a file that appears complete or not at all.

        Args:
            on_bytes: told of progress; its counts start again when an answer was cut short.

        Returns:
            Hex sha256 of what was written; comparing it is the caller's.

        Raises:
            InputError: there is no such object.
        """

    def create(self, key: str, content: bytes) -> bool:
        """Puts `content` at `key` if nothing is there: at most one racing caller gets True.

        A request that is repeated because its answer was lost finds its own object, and is True.

        Raises:
            MachineError: the store cannot refuse to overwrite, and `single_writer` is not said.
        """

    def remove(self, key: str) -> None:
        """Deletes the object at `key`, if there is one."""

    def check_writable(self) -> list[str]:
        """Writes, reads and deletes small objects as publishing does (`storage.trial`).

        Returns:
            What the store cannot do, and what is done instead, a sentence each; nothing is left.

        Raises:
            InputError, MachineError, TransientError: as publishing would.
        """
        ...


class Scheme(Protocol):
    """Opens storages of one scheme.

    Each file of `storage.schemes` offers one as SCHEME; the file's name is the scheme.
    """

    def open(self, rest: str, uri: str) -> Storage:
        """Opens a storage; nothing is contacted or made yet.

        Args:
            rest: what follows `scheme://`.
            uri: all of it, to be quoted through `uris.shown` only.

        Raises:
            InputError: it names none.
            MachineError: this machine's configuration for it is broken.
        """


def checked_key(key: str) -> str:
    """Returns the key if it is a usable one.

    Raises:
        InputError: it could leave its storage or name two things.
    """
    if "\\" in key or "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise InputError(
            f"{shown(key)!r} is no usable key: expected names joined by single slashes"
        )
    return key


def check_digest(actual: str, expected: str, path: Path) -> None:
    """Makes sure that a local file is still what was hashed.

    Args:
        actual, expected: hex sha256.

    Raises:
        IntegrityError: it is not.
    """
    if actual != expected:
        raise IntegrityError(
            f"{path} has sha256 {actual[:12]}, expected {expected[:12]}: it changed after it was "
            "hashed; nothing was stored, run the stage again"
        )


def no_create_if_absent(uri: str, why: str) -> MachineError:
    """Returns what to raise where a store would let one publisher overwrite another.

    Args:
        why: what it said or did instead of refusing.
    """
    return MachineError(
        f"{shown(uri)} does not refuse to overwrite ({why}), so two publishers could overwrite "
        "each other: choose another registry, or say --single-writer if nobody else publishes there"
    )


def stored_wrongly(uri: str, actual: str | None, expected: str) -> IntegrityError:
    """Returns what to raise where a service confirmed an upload and hands out something else."""
    return IntegrityError(
        f"{shown(uri)} reads back as sha256 {(actual or 'nothing')[:12]}, expected "
        f"{expected[:12]}: the service did not keep what it confirmed; check it before publishing "
        "again"
    )
