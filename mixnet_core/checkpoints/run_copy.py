"""What of a run is kept in a store, so that another host goes on from there.

    files/000002/SHA256     a file, put there by the second owner of the run
    turns/...               which files they are: `runs.turns`

That are the complete checkpoints, and what of the run is written beside them: metrics, and which
batches and images were left out. Files go first, the turn that names them last: of a checkpoint
all is kept or nothing. Files that no turn names any more are deleted by whoever has the run, its
own and earlier owners' alone, so that one that lost it, and does not know yet, deletes nothing of
what came after it.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from pathlib import Path

from mixnet_core.checkpoints.bundle import CONTENTS, read_contents, set_aside, step_of
from mixnet_core.checkpoints.retention import SCORES
from mixnet_core.errors import InputError, IntegrityError, MixnetError
from mixnet_core.runs.run_dir import RunDir, newest_attempt
from mixnet_core.runs.turns import Held
from mixnet_core.storage.files import (
    file_aside,
    folder_aside,
    os_errors_explained,
    read_json,
    sha256_of,
)
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.uris import shown

FOLDER = "files"
# What the name of a bundle begins with that this host left, and the store has another one since.
LEFT_BEHIND_PREFIX = "left-behind-"

# Beside the bundles, in the run's folder.
_RECORDS = ("metrics.jsonl", "diverged.jsonl")
_UNREADABLE = re.compile(r"unreadable(-host-\d+)?\.jsonl")
_BUNDLED = re.compile(r"checkpoints/(step-\d+)/([A-Za-z0-9_][A-Za-z0-9_.-]*)")
_KEY = re.compile(rf"{FOLDER}/(\d+)/([0-9a-f]{{64}})")

log = logging.getLogger(__name__)


class RunCopy:
    """Brings a run's files to its store, and from there.

    Args:
        run: its folder.
        storage: of this run alone.
        held: the run's turns.
    """

    def __init__(self, run: RunDir, storage: Storage, held: Held) -> None:
        self._run, self._storage, self._held = run, storage, held
        self._keys = {_key_parts(key)[1]: key for key in held.turn.kept.values()}

    @property
    def newest(self) -> int:
        """Returns the step of the newest checkpoint that is kept; 0 if none is."""
        found = (_BUNDLED.fullmatch(path) for path in self._held.turn.kept)
        return max((step_of(Path(each[1])) for each in found if each), default=0)

    def fetch(self) -> list[str]:
        """Makes the run's folder what is kept, each file verified; called before anything is sent.

        Checkpoints that the folder has and the store has not are kept as `left-behind-step-...`.

        Returns:
            What is wrong with checkpoints that are damaged in the store, a line each: they are
            left out, and older ones gone on from.

        Raises:
            IntegrityError: no checkpoint is whole, or another file is damaged.
            MixnetError: as `Storage.download`; the disk is full.
        """
        bundles: dict[str, dict[str, str]] = {}
        records: dict[str, str] = {}
        for path, key in self._held.turn.kept.items():
            if (found := _BUNDLED.fullmatch(path)) is not None:
                bundles.setdefault(found[1], {})[found[2]] = key
            elif path in _RECORDS or _UNREADABLE.fullmatch(path):
                records[path] = key
            else:
                raise IntegrityError(
                    f"{shown(self._storage.uri)} keeps {shown(path)!r}, which is no file of a run: "
                    "another program wrote there; choose another devices.run_store"
                )
        damaged: list[str] = []
        for name, files in sorted(bundles.items(), reverse=True):
            try:
                self._fetch_bundle(name, files)
            except IntegrityError as error:
                damaged.insert(0, f"checkpoint {name} is damaged in the store: {error}")
                for key in files.values():
                    self._keys.pop(_key_parts(key)[1], None)
        good = [name for name in bundles if (self._run.checkpoints / name).is_dir()]
        if damaged and not good:
            raise IntegrityError(
                f"no checkpoint of run {self._run.name} in {shown(self._storage.uri)} is whole, of "
                f"{len(bundles)}: {damaged[-1]}; delete it there to begin anew"
            )
        for left in self._run.checkpoints.glob("step-*"):
            if left.name not in bundles:
                set_aside(left, LEFT_BEHIND_PREFIX)
        self._fetch_records(records)
        # Attempts are counted over all hosts: records speak of them by name.
        with os_errors_explained(self._run.root):
            if self._held.turn.attempts > _attempts(self._run):
                number = self._held.turn.attempts
                (self._run.attempts("train") / f"attempt-{number:03d}").mkdir(parents=True)
        return damaged

    def send(self) -> bool:
        """Has the store keep what the folder has now, and nothing else of the run.

        Returns:
            Whether that is another thing than before.

        Raises:
            RunTaken: another host has the run; what was sent is named nowhere.
            MixnetError: as `Storage.upload`.
        """
        kept: dict[str, str] = {}
        for bundle in sorted(self._run.checkpoints.glob("step-*"), key=step_of):
            try:
                kept |= self._send_bundle(bundle)
            except IntegrityError as error:
                log.warning("checkpoint not kept in the store: %s", error)
            except MixnetError:
                # Deleted meanwhile, by the rank that keeps the newest ones.
                if (bundle / CONTENTS).is_file():
                    raise
        # Where there is nothing to go on from, there is nothing to go on with.
        if kept or self._run.diverged.is_file():
            # After the bundles: rows up to a bundle are written before it.
            kept |= self._send_records()
        if kept == self._held.turn.kept:
            return False
        self._held.advance(kept=kept, attempts=max(_attempts(self._run), self._held.turn.attempts))
        self._clear(set(kept.values()))
        return True

    def _fetch_bundle(self, name: str, files: dict[str, str]) -> None:
        target = self._run.checkpoints / name
        if target.is_dir():
            if all(_has(target / file, key) for file, key in files.items()):
                return
            # Under its own name a kill would leave what the store has not.
            set_aside(target, LEFT_BEHIND_PREFIX)
        with folder_aside(target) as aside:
            for file, key in files.items():
                self._fetch_file(key, aside / file)
            read_contents(aside)

    def _fetch_records(self, records: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for path, key in records.items():
                self._fetch_file(key, Path(scratch) / path)
            for path in records:
                with file_aside(self._run.root / path) as aside:
                    shutil.copyfile(Path(scratch) / path, aside)
        for left in self._records():
            if left.name not in records:
                with os_errors_explained(left, "delete"):
                    left.unlink()

    def _fetch_file(self, key: str, target: Path) -> None:
        expected = _key_parts(key)[1]
        where = f"{shown(self._storage.uri)}/{key}"
        try:
            got = self._storage.download(key, target)
        except InputError:
            if self._storage.exists(key):
                raise
            got = "no file"
        if got != expected:
            raise IntegrityError(
                f"{where} is not what was kept there as {target.name}: expected sha256 "
                f"{expected[:8]}, got {got[:8]}"
            )

    def _send_bundle(self, bundle: Path) -> dict[str, str]:
        place = f"checkpoints/{bundle.name}"
        contents = self._sent(bundle / CONTENTS)
        files = {f"{place}/{CONTENTS}": contents}
        before = self._held.turn.kept
        is_kept = before.get(f"{place}/{CONTENTS}") == contents
        for name, sha256 in read_json(bundle / CONTENTS)["files"].items():
            path = f"{place}/{name}"
            if is_kept and _key_parts(before.get(path, ""))[1] == sha256:
                files[path] = before[path]
            else:
                files[path] = self._sent(bundle / name, sha256)
        if (bundle / SCORES).is_file():
            files[f"{place}/{SCORES}"] = self._sent(bundle / SCORES)
        return files

    def _send_records(self) -> dict[str, str]:
        found = {}
        with tempfile.TemporaryDirectory() as scratch:
            for path in self._records():
                # They grow while they are sent.
                copy = Path(scratch) / path.name
                with os_errors_explained(copy):
                    shutil.copyfile(path, copy)
                found[path.name] = self._sent(copy)
        return found

    def _sent(self, path: Path, sha256: str | None = None) -> str:
        """Puts a file into the store, unless it is kept already; returns its key."""
        if sha256 is None:
            with os_errors_explained(path, "read"):
                sha256 = sha256_of(path)
        if sha256 not in self._keys:
            key = f"{FOLDER}/{self._held.turn.term:06d}/{sha256}"
            self._storage.upload(path, key, sha256)
            self._keys[sha256] = key
        return self._keys[sha256]

    def _clear(self, kept: set[str]) -> None:
        for stored in self._storage.listed(FOLDER):
            term, sha256 = _key_parts(stored.key)
            if sha256 and term <= self._held.turn.term and stored.key not in kept:
                if self._keys.get(sha256) == stored.key:
                    del self._keys[sha256]
                self._storage.remove(stored.key)

    def _records(self) -> list[Path]:
        found = [self._run.root / name for name in _RECORDS]
        found += [p for p in self._run.root.glob("*.jsonl") if _UNREADABLE.fullmatch(p.name)]
        return sorted(path for path in found if path.is_file())


def _key_parts(key: str) -> tuple[int, str]:
    """Returns whose file a key names, and the file's sha256; 0 and "" of another key."""
    found = _KEY.fullmatch(key)
    return (int(found[1]), found[2]) if found else (0, "")


def _has(path: Path, key: str) -> bool:
    with os_errors_explained(path, "read"):
        return path.is_file() and sha256_of(path) == _key_parts(key)[1]


def _attempts(run: RunDir) -> int:
    newest = newest_attempt(run.attempts("train"))
    return int(newest.name.removeprefix("attempt-")) if newest else 0
