"""The mirror of a prefix: listed, fetched, and then a folder that others read.

    mirrors/<bucket>-<digest of the place>/
        place.json      URI and address of the store
        .busy, .used    locks: of the one process that fetches, of all that read (`holding`)
        .wanted         how many bytes it will have when it is fetched (`room`)
        pool/           what was fetched (`pool`)
        <digest>/NAME/  the prefix as it was listed once, as links into the pool: what is read

A folder of a listing never changes. What changed in the store is another listing's, in another
folder, so that a training which reads the old one goes on undisturbed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mixnet_core.errors import InputError, TransientError
from mixnet_core.storage.asides import OwnAside
from mixnet_core.storage.files import os_errors_explained, write_json
from mixnet_core.storage.mirror import holding
from mixnet_core.storage.mirror.fetching import fetch, total
from mixnet_core.storage.mirror.patience import OUTAGE_SECONDS, Patience
from mixnet_core.storage.mirror.pool import Pool
from mixnet_core.storage.mirror.room import expect_room, make_room
from mixnet_core.storage.mirror.shape import Shape, shape_of
from mixnet_core.storage.mirror.tree import build_outline, build_tree, tree_is_whole
from mixnet_core.storage.sizes import size
from mixnet_core.storage.storage import Listed, Objects
from mixnet_core.storage.uris import shown
from mixnet_core.storage.user_cache import cache_folder

# A prefix that still changes after so many listings is being written.
_LISTINGS = 3
_DIGITS = 16
_LISTING = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


class Fetched(NamedTuple):
    """Says how far fetching is.

    Attributes:
        done, total: bytes, with those that were there before.
        said: what is worth a line of its own; "" at an ordinary step.
    """

    done: int
    total: int
    said: str = ""


OnFetched = Callable[[Fetched], None]


@dataclass(frozen=True)
class Plan:
    """Says what fetching would do.

    Attributes:
        shape: what the prefix holds.
        missing: of its files, those that are not on this machine.
    """

    shape: Shape
    missing: tuple[Listed, ...]

    def __str__(self) -> str:
        files = f"{len(self.shape.files):,} objects, {size(self.shape.bytes)}"
        if not self.missing:
            return f"{files}, all of them on this machine"
        if len(self.missing) == len(self.shape.files):
            return f"{files}, all of them to be fetched"
        missing = f"{len(self.missing):,} of them, {size(total(self.missing))}, are to be fetched"
        return f"{files}; {missing}"


class Mirror:
    """Keeps one prefix of a store as a folder of this machine.

    Args:
        objects: the store's place, opened.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._digests: dict[str, str] = {}
        # Only the part of a URI that the storage made, which holds no secret.
        last = objects.uri.rpartition("/")[2]
        place = hashlib.sha256(f"{objects.address}\n{objects.uri}".encode()).hexdigest()
        self._name = last
        self.root = cache_folder("mirrors") / f"{last[:60]}-{place[:_DIGITS]}"

    def fetched(self, on_fetched: OnFetched, seconds: float = OUTAGE_SECONDS) -> Path:
        """Lists the prefix, fetches what is missing, and returns the folder that looks as it does.

        The folder stays for as long as this process lives.

        Args:
            on_fetched: told of progress, in this thread.
            seconds: that a store which does not answer is waited for.

        Raises:
            InputError: there is nothing, or a key that can be no file.
            MachineError: there is no room, no permission.
            IntegrityError: bytes are not what the store keeps a checksum of.
            TransientError: the store is away, or what is there changes all the while.
        """
        told = _Told(on_fetched)

        def on_wait() -> None:
            told.say(f"another process fetches {shown(self._objects.uri)}: waiting for it")

        with holding.fetching(self.root, on_wait):
            self._name_place()
            pool = Pool(self.root / "pool")
            for _ in range(_LISTINGS):
                patience = Patience(seconds, told.say)
                plan = self._plan(pool, patience.through(self._objects.objects))
                folder = self.root / plan.shape.digest[:_DIGITS]
                if plan.missing:
                    self._make_room(plan, pool)
                holding.hold(pool.root)
                changed = self._fetch(plan, pool, told, seconds)
                if not changed:
                    if plan.missing or not tree_is_whole(folder / self._name, plan.shape):
                        build_tree(folder, self._name, plan.shape, pool)
                    self._digests = {file.key: pool.sha256(file) for file in plan.shape.files}
                    return folder / self._name
                told.say(
                    f"{len(changed):,} objects of {shown(self._objects.uri)} changed while they "
                    "were fetched: listing them again"
                )
        raise TransientError(
            f"{shown(self._objects.uri)} changes while it is fetched, as {shown(changed[0].key)}: "
            "wait until whoever writes there has ended, then prepare again"
        )

    @property
    def digests(self) -> Mapping[str, str]:
        """Returns the hex sha256 of each file by its path, as `fetched` left it."""
        return self._digests

    def plan(self, most: int | None = None) -> Plan | None:
        """Returns what fetching would do; None where there are more objects than `most`.

        Raises:
            InputError, MachineError, TransientError: as `fetched` for whatever shows by listing.
        """
        listed = self._objects.objects(None if most is None else most + 1)
        if most is not None and len(listed) > most:
            return None
        plan = self._plan(Pool(self.root / "pool"), listed)
        if plan.missing:
            self._expect_room(plan)
        return plan

    @contextmanager
    def outlined(self, plan: Plan, needed: Callable[[Listed], bool]) -> Iterator[Path]:
        """Yields a folder that looks as the prefix does, for as long as the block runs.

        Files that are on this machine have their content, others only their size.

        Args:
            needed: which of these have to have their content; they are fetched.

        Raises:
            MixnetError: as `fetched`.
        """
        with os_errors_explained(self.root):
            # On the disk of the pool, for links; a prefix that is only looked at leaves nothing.
            aside = OwnAside(self.root.parent)
        try:
            folder = aside.path / self._name
            pool = Pool(self.root / "pool")
            build_outline(
                folder, plan.shape, pool, lambda file, path: self._fill(file, path, needed)
            )
            yield folder
        finally:
            aside.drop()

    def _fill(self, file: Listed, path: Path, needed: Callable[[Listed], bool]) -> None:
        if not needed(file):
            return
        with path.open("r+b") as out:

            def begin() -> None:
                out.seek(0)

            if not self._objects.receive(file, begin, out.write):
                raise TransientError(
                    f"{shown(self._objects.uri)}/{shown(file.key)} changed while it was looked at: "
                    "check again"
                )

    def _plan(self, pool: Pool, listed: list[Listed]) -> Plan:
        uri = self._objects.uri
        shape = shape_of(uri, listed)
        if not shape.files:
            if self._objects.stands_at():
                raise InputError(
                    f"{shown(uri)} is one object: expected the prefix that it stands below, as a "
                    "folder of images"
                )
            raise InputError(f"nothing is below {shown(uri)}: check the URI")
        return Plan(shape, tuple(file for file in shape.files if not pool.has(file)))

    def _expect_room(self, plan: Plan) -> None:
        missing = total(plan.missing)
        expect_room(self._objects.uri, self.root, plan.shape.bytes, missing, len(plan.missing))

    def _make_room(self, plan: Plan, pool: Pool) -> None:
        self._expect_room(plan)
        kept = {pool.name(file) for file in plan.shape.files}

        def tidy() -> None:
            with os_errors_explained(self.root, "remove"):
                for folder in self.root.iterdir():
                    if _LISTING.fullmatch(folder.name):
                        shutil.rmtree(folder)
                pool.keep(kept)

        make_room(self._objects.uri, self.root, total(plan.missing), tidy)

    def _fetch(self, plan: Plan, pool: Pool, told: _Told, seconds: float) -> list[Listed]:
        if not plan.missing:
            return []
        whole, missing = plan.shape.bytes, total(plan.missing)
        told.at(whole - missing, whole)
        told.say(f"{shown(self._objects.uri)}: {plan}")
        changed = fetch(
            self._objects,
            plan.missing,
            pool,
            patience=lambda stopped: Patience(seconds, told.say, stopped),
            on_arrived=lambda arrived: told.at(whole - missing + arrived, whole),
        )
        told.at(whole, whole)
        return changed

    def _name_place(self) -> None:
        place = self.root / holding.PLACE
        if not place.is_file():
            write_json(place, {"uri": self._objects.uri, "address": self._objects.address})


class _Told:
    """Tells somebody of progress, always in the thread that made it: watchers live in that one."""

    def __init__(self, on_fetched: OnFetched) -> None:
        self._on_fetched = on_fetched
        self._thread = threading.get_ident()
        self._kept: deque[str] = deque()
        self._at = (0, 0)

    def at(self, done: int, whole: int) -> None:
        """Tells how far it is, and what other threads had to say."""
        self._at = (done, whole)
        while self._kept:
            self._on_fetched(Fetched(*self._at, self._kept.popleft()))
        self._on_fetched(Fetched(*self._at))

    def say(self, text: str) -> None:
        """Tells a line; in another thread it is kept until the next step."""
        if threading.get_ident() == self._thread:
            self._on_fetched(Fetched(*self._at, text))
        else:
            self._kept.append(text)
