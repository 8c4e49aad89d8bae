"""Fetching objects into a pool, many at once: each verified, on the disk, and then known there.

Small objects go as a whole, large ones in stretches, so that neither a broken line nor a killed
process costs more than a stretch of each.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mixnet_core.errors import IntegrityError
from mixnet_core.storage.asides import held_aside
from mixnet_core.storage.files import os_errors_explained, sha256_of
from mixnet_core.storage.mirror.patience import Patience
from mixnet_core.storage.mirror.pool import Pool
from mixnet_core.storage.storage import Listed, Objects
from mixnet_core.storage.uris import shown

# They wait for the store. More of them only wait for Python's lock.
THREADS = 16
STRETCH_BYTES = 32 << 20
"""Also what is fetched as a whole at most: an image is, a shard or an archive is not."""

# Between looks at what arrived: for progress, and for what is on record after a kill.
_TICK_SECONDS = 0.5
_MD5_DIGITS = 32
# So many objects whose ETags are no MD5s, and the store is one that has others.
_ENOUGH = 20
# So many times in a row with other bytes, and something on the way changes them.
_ARRIVALS = 4

log = logging.getLogger(__name__)

OnArrived = Callable[[int], None]
"""Told how many bytes arrived since fetching began."""


class _Work(NamedTuple):
    """Names what one thread does: an object, or its stretch, or (-1) to finish one in stretches."""

    listed: Listed
    stretch: int | None = None


class _Result(NamedTuple):
    """Says what became of it: an object's digest and time, or nothing where it changed.

    Attributes:
        is_wrong: it came in stretches that do not fit its ETag together: once more.
    """

    work: _Work
    sha256: str = ""
    changed: int = 0
    is_other: bool = False
    is_wrong: bool = False
    error: BaseException | None = None


class _NotWanted(Exception):
    """Says that nobody waits for the rest of an answer."""


def fetch(
    objects: Objects,
    wanted: Sequence[Listed],
    pool: Pool,
    *,
    patience: Callable[[threading.Event], Patience],
    on_arrived: OnArrived,
) -> list[Listed]:
    """Fetches objects into a pool; when it is interrupted, what is whole stays there.

    Args:
        wanted: none of them in the pool.
        patience: makes what waits for a store that does not answer.

    Returns:
        Those that are not any more what was listed.

    Raises:
        IntegrityError: bytes do not fit the checksum that the store keeps of them, or are others
            each time that they arrive.
        MachineError: a full disk, no permission.
        TransientError: the store was away for too long.
    """
    pool.make()
    with os_errors_explained(pool.root), held_aside(pool.root) as aside:
        crew = _Crew(objects, pool, aside.path, patience)
        try:
            return crew.work_through(wanted, on_arrived)
        finally:
            crew.stop()
            pool.flush()


class _Crew:
    def __init__(
        self,
        objects: Objects,
        pool: Pool,
        aside: Path,
        patience: Callable[[threading.Event], Patience],
    ) -> None:
        self._objects, self._pool, self._aside = objects, pool, aside
        self._stop = threading.Event()
        self._patience = patience(self._stop)
        self._todo: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._arrived = 0
        # By name, the MD5s that an object arrived with and that are not its ETag.
        self._md5s: dict[str, list[str]] = {}
        # Where no object is read twice for its ETag any more.
        self._etags_are_others, self._others_seen = False, 0
        # Daemons: one that waits for a store's answer does not hold up Ctrl-C.
        self._threads = [
            threading.Thread(target=self._run, args=(n,), name=f"fetch-{n}", daemon=True)
            for n in range(THREADS)
        ]

    def work_through(self, wanted: Sequence[Listed], on_arrived: OnArrived) -> list[Listed]:
        """Has all of it fetched; see `fetch`."""
        left = {listed.key: self._begun(listed) for listed in wanted}
        open_works = sum(len(works) for works in left.values())
        for works in left.values():
            for work in works:
                self._todo.put(work)
        for thread in self._threads:
            thread.start()
        others: dict[str, Listed] = {}
        while open_works:
            try:
                result = self._results.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                self._pool.flush()
                on_arrived(self._arrived)
                continue
            open_works -= 1
            if result.error is not None:
                raise result.error
            work = result.work
            left[work.listed.key].discard(work)
            if result.is_wrong:
                left[work.listed.key] = self._begun(work.listed)
                open_works += len(left[work.listed.key])
                for again in left[work.listed.key]:
                    self._todo.put(again)
            elif result.is_other:
                others[work.listed.key] = work.listed
            elif work.stretch is not None and work.stretch >= 0:
                self._pool.stretch_done(work.listed, work.stretch)
            else:
                self._pool.add(work.listed, result.sha256, result.changed)
            if not left[work.listed.key] and work.stretch is not None and work.stretch >= 0:
                if work.listed.key in others:
                    self._pool.forget_stretches(work.listed)
                else:
                    open_works += 1
                    self._todo.put(_Work(work.listed, -1))
            if self._results.empty():
                self._pool.flush()
                on_arrived(self._arrived)
        return list(others.values())

    def stop(self) -> None:
        """Lets the threads go; those that wait for an answer are not waited for."""
        self._stop.set()
        for _ in self._threads:
            self._todo.put(None)

    def _begun(self, listed: Listed) -> set[_Work]:
        """Returns what is left to do for an object."""
        if listed.bytes <= STRETCH_BYTES:
            return {_Work(listed)}
        count = -(-listed.bytes // STRETCH_BYTES)
        done = self._pool.stretches_done(listed)
        path = self._pool.stretches(listed)
        if not done:
            self._pool.forget_stretches(listed)
            with path.open("wb") as file:
                file.truncate(listed.bytes)
        return {_Work(listed, n) for n in range(count) if n not in done} or {_Work(listed, -1)}

    def _run(self, number: int) -> None:
        while (work := self._todo.get()) is not None and not self._stop.is_set():
            try:
                with os_errors_explained(self._pool.root):
                    result = self._patience.through(partial(self._done, work, number))
                self._results.put(result)
            except _NotWanted:
                return
            # Told in the thread that waits: also what is nobody's mistake but ours.
            except BaseException as error:
                self._results.put(_Result(work, error=error))

    def _done(self, work: _Work, number: int) -> _Result:
        if work.stretch is None:
            return self._whole(work, self._aside / str(number))
        if work.stretch < 0:
            return self._finished(work)
        return self._stretch(work, work.stretch)

    def _whole(self, work: _Work, file: Path) -> _Result:
        """Fetches an object that is small."""
        listed = work.listed
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with file.open("wb") as out:

            def begin() -> None:
                nonlocal sha256, md5
                out.seek(0)
                out.truncate()
                sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)

            def write(chunk: bytes) -> None:
                out.write(chunk)
                sha256.update(chunk)
                md5.update(chunk)

            if not self._received(listed, begin, write, 0, listed.bytes):
                return _Result(work, is_other=True)
        if not self._is_as_tagged(listed, md5.hexdigest()):
            return self._whole(work, file)
        return _Result(work, sha256.hexdigest(), self._pool.put(file, listed))

    def _stretch(self, work: _Work, number: int) -> _Result:
        listed, start = work.listed, number * STRETCH_BYTES
        with self._pool.stretches(listed).open("r+b") as out:

            def begin() -> None:
                out.seek(start)

            length = min(STRETCH_BYTES, listed.bytes - start)
            is_one = self._received(listed, begin, out.write, start, length)
            out.flush()
            os.fsync(out.fileno())
        return _Result(work, is_other=not is_one)

    def _finished(self, work: _Work) -> _Result:
        """Verifies an object whose stretches are all there, and puts it into its place."""
        listed, path = work.listed, self._pool.stretches(work.listed)
        sha256 = sha256_of(path)
        if self._has_md5(listed) and not self._is_as_tagged(listed, _md5_of(path)):
            self._pool.forget_stretches(listed)
            return _Result(work, is_wrong=True)
        changed = self._pool.put(path, listed)
        self._pool.forget_stretches(listed)
        return _Result(work, sha256, changed)

    def _received(
        self,
        listed: Listed,
        begin: Callable[[], None],
        write: Callable[[bytes], object],
        start: int,
        length: int,
    ) -> bool:
        """Reads a stretch; counts what arrives, and ends where nobody waits for it any more."""
        arrived = 0

        def count(more: int) -> None:
            nonlocal arrived
            with self._lock:
                self._arrived += more
            arrived += more

        def begin_anew() -> None:
            count(-arrived)
            begin()

        def take(chunk: bytes) -> None:
            if self._stop.is_set():
                raise _NotWanted
            # A store that ends a long answer now and then is there all the same.
            self._patience.answered()
            write(chunk)
            count(len(chunk))

        try:
            is_one = self._objects.receive(listed, begin_anew, take, start=start, length=length)
        except BaseException:
            count(-arrived)
            raise
        if not is_one:
            count(-arrived)
        return is_one

    def _has_md5(self, listed: Listed) -> bool:
        """Tells whether an ETag may be an MD5.

        It is none of an object that came to the store in parts, or that the store encrypted.
        """
        return len(listed.etag) == _MD5_DIGITS and not self._etags_are_others

    def _is_as_tagged(self, listed: Listed, md5: str) -> bool:
        """Tells whether bytes are those of the ETag, where it is an MD5; False: look once more.

        Raises:
            IntegrityError: they are others each time.
        """
        if not self._has_md5(listed) or md5 == listed.etag:
            return True
        with self._lock:
            before = self._md5s.setdefault(listed.key, [])
            before.append(md5)
        # Twice the same bytes are the object's: bytes that were lost on the way are others.
        if md5 not in before[:-1]:
            if len(before) < _ARRIVALS:
                return False
            raise IntegrityError(
                f"{shown(self._objects.uri)}/{shown(listed.key)} arrived {len(before)} times with "
                "other bytes than its ETag says, each time with others: something between here and "
                "the store changes them; reach it by https, or by another way"
            )
        log.debug("%s: the ETag of %s is not its MD5", shown(self._objects.uri), shown(listed.key))
        with self._lock:
            self._others_seen += 1
            self._etags_are_others = self._others_seen >= _ENOUGH
        return True


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def total(objects: Iterable[Listed]) -> int:
    """Returns the size of objects, in bytes."""
    return sum(item.bytes for item in objects)
