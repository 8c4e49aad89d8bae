"""Publishing killed again and again: at every instant there is a whole release, or none.

`python -m tests.faults.publishing_kills --kills 200` kills it so often on S3 and in a folder, and
says how far it was each time. What is there is looked at past the project's own code: with boto3,
and as files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.object_store import ObjectStore, running_store

MULTIPART_BYTES = 9 << 20
# Of 8 MiB, the least part of S3 but for the last one.
_WEIGHTS_BYTES = (16 << 20) + 100_000
_MOST_KILLS_OF_ONE = 3


class Place(Protocol):
    """A registry, looked at from outside."""

    uri: str

    def objects(self, name: str) -> dict[str, bytes]:
        """What stands in a release's folder, by name; all of it is read."""
        ...

    def beginnings(self, name: str) -> int:
        """How many uploads for this release did not end."""
        ...

    def clear(self, name: str) -> None:
        """Takes the release away: a disk holds so many."""


@dataclass
class Bucket:
    store: ObjectStore
    prefix: str = "killed"

    @property
    def uri(self) -> str:
        return f"s3://{self.store.bucket}/{self.prefix}"

    def objects(self, name: str) -> dict[str, bytes]:
        client, found = self.store.client(), {}
        listed = client.list_objects_v2(Bucket=self.store.bucket, Prefix=f"{self.prefix}/{name}/")
        for item in listed.get("Contents", []):
            answer = client.get_object(Bucket=self.store.bucket, Key=item["Key"])
            found[item["Key"].rpartition("/")[2]] = answer["Body"].read()
        return found

    def beginnings(self, name: str) -> int:
        return len(self._uploads(name))

    def clear(self, name: str) -> None:
        client = self.store.client()
        for upload in self._uploads(name):
            client.abort_multipart_upload(
                Bucket=self.store.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        for key in self.objects(name):
            client.delete_object(Bucket=self.store.bucket, Key=f"{self.prefix}/{name}/{key}")

    def _uploads(self, name: str) -> list[dict[str, str]]:
        found = self.store.client().list_multipart_uploads(
            Bucket=self.store.bucket, Prefix=f"{self.prefix}/{name}/"
        )
        uploads: list[dict[str, str]] = found.get("Uploads", [])
        return uploads


@dataclass
class Folder:
    path: Path

    @property
    def uri(self) -> str:
        return self.path.as_uri()

    def objects(self, name: str) -> dict[str, bytes]:
        files = [path for path in (self.path / name).glob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in files}

    def beginnings(self, name: str) -> int:
        return sum(path.is_dir() for path in (self.path / name).glob(".aside-*"))

    def clear(self, name: str) -> None:
        pass


@dataclass
class Publisher:
    """A process that publishes in processes of its own."""

    process: subprocess.Popen[str]

    def begin(self, name: str) -> int:
        """Returns the id of the process that publishes."""
        self._write(name)
        return self._number()

    def ended(self) -> int:
        """Returns its exit code, when it has one."""
        self._write("")
        return self._number()

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@dataclass
class Found:
    """What came of the kills.

    Attributes:
        kills: how often a process was killed at work.
        seen: how far publishing was, counted.
        beginnings: uploads that did not end and were still there after the release was whole.
    """

    kills: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    beginnings: int = 0

    def __str__(self) -> str:
        seen = ", ".join(f"{count} {what}" for what, count in sorted(self.seen.items()))
        return f"{self.kills} kills ({seen}); {self.beginnings} beginnings left after the last"


def write_files(folder: Path) -> None:
    """Files as a release has them: weights in parts, and small ones."""
    folder.mkdir()
    draw = random.Random(0)
    (folder / "weights.ckpt").write_bytes(draw.randbytes(_WEIGHTS_BYTES))
    for name, size in (("recipe.yaml", 2_000), ("answers.csv", 300_000), ("report.json", 20_000),
                       ("report_page.html", 90_000)):  # fmt: skip
        (folder / name).write_bytes(draw.randbytes(size))


def stage_of(objects: Mapping[str, bytes], expected: int) -> str:
    """How far publishing was.

    Raises:
        AssertionError: there is a release with a file that is missing or not what it says.
    """
    if "manifest.json" not in objects:
        return f"with {len(objects)} of {expected} files"
    manifest = json.loads(objects["manifest.json"])
    for file in manifest["files"].values():
        content = objects[file["name"]]
        assert len(content) == file["bytes"]
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    assert len(objects) == expected + 1, sorted(objects)
    return "with a whole release"


def kill_publishing(
    kills: int,
    place: Place,
    folder: Path,
    *,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> Found:
    """Kills publishing so often, then lets it through, and looks each time.

    Raises:
        AssertionError: half a release, or publishing again did not succeed.
    """
    files = folder / "files"
    write_files(files)
    expected = len(list(files.iterdir()))
    draw, found = random.Random(seed), Found()
    command = [sys.executable, "-m", "tests.faults.publisher", place.uri, str(files)]
    with subprocess.Popen(
        [*command, str(MULTIPART_BYTES)],
        env={**os.environ, "MIXNET_CACHE": str(folder / "cache")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        publisher = Publisher(process)
        # The first one reads what boto3 has on the disk.
        seconds = [_through(publisher, place, f"undisturbed-{n}", expected) for n in range(3)][1:]
        number = 0
        while found.kills < kills:
            name = f"killed-{number}"
            number += 1
            for _ in range(draw.randint(1, _MOST_KILLS_OF_ONE)):
                pid = publisher.begin(name)
                time.sleep(draw.uniform(0, 1.1 * max(seconds)))
                # Nobody has waited for it yet: its id is nobody else's.
                os.kill(pid, signal.SIGKILL)
                code = publisher.ended()
                assert code in (0, -signal.SIGKILL), code
                if code:
                    found.kills += 1
                    found.seen[stage_of(place.objects(name), expected)] += 1
            _through(publisher, place, name, expected)
            found.beginnings += place.beginnings(name)
            place.clear(name)
            if number % 20 == 0:
                say(f"{found}")
        assert process.stdin is not None
        process.stdin.close()
    return found


def _through(publisher: Publisher, place: Place, name: str, expected: int) -> float:
    """Publishes undisturbed; returns the seconds that it took."""
    began = time.monotonic()
    publisher.begin(name)
    assert publisher.ended() == 0
    seconds = time.monotonic() - began
    assert stage_of(place.objects(name), expected) == "with a whole release"
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.publishing_kills")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for part in ("store", "s3", "file"):
            (root / part).mkdir()
        with running_store(root / "store") as store:
            os.environ |= store.environment
            found = kill_publishing(
                options.kills, Bucket(store), root / "s3", seed=options.seed, say=say
            )
            say(f"s3: {found}")
        found = kill_publishing(
            options.kills, Folder(root / "releases"), root / "file", seed=options.seed
        )
        say(f"file: {found}")


if __name__ == "__main__":
    main()
