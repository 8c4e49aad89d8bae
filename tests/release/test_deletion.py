"""Deleting, and collecting what is left, on a folder and on a real S3 server alike."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import InputError, IntegrityError, ReleaseConflict
from mixnet_core.evaluate.report.registry_index import write_index
from mixnet_core.release import deletion_marks, publish
from mixnet_core.release.aliases import find_alias
from mixnet_core.release.collect import collect
from mixnet_core.release.deletion import delete_release
from mixnet_core.release.promotion import promote, retire
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release, release_names
from mixnet_core.release.retirements import deleted_releases
from mixnet_core.release.standing import standings
from mixnet_core.revalidation.all_releases import items
from mixnet_core.revalidation.states import Revalidation
from mixnet_core.runs.values import Release
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.trial import require_refusal
from tests.registries import (
    expect_files_of_releases,
    expect_whole_releases,
    keys,
    make_release,
    overwrite,
)


@pytest.fixture
def here(tmp_path: Path) -> str:
    """A folder to publish to."""
    return (tmp_path / "releases").as_uri()


def test_a_deleted_release_leaves_its_reason_and_nothing_else(to: str, tmp_path: Path) -> None:
    release = make_release("digits-1", to, tmp_path)
    make_release("digits-2", to, tmp_path)
    beside = ("README.md", "README.hf.md", "config.json", "model.sig")
    for name in beside:
        overwrite(to, f"digits-1/{name}", b"# card")
    before = keys(to)
    done = delete_release("digits-1", to, why="a label was wrong")
    assert set(done.files) == {
        "manifest.json",
        *beside,
        *(file.name for file in release.files.values()),
    }
    assert done.files[0] == "manifest.json"
    assert set(keys(to)) == {key for key in before if not key.startswith("digits-1/")} | {
        "retirements/digits-1/000001.json"
    }
    assert expect_whole_releases(to) == ["digits-2"]
    record = deleted_releases(open_storage(to))["digits-1"]
    assert (record.why, record.manifest_sha256) == ("a label was wrong", release.manifest_sha256)
    with pytest.raises(InputError, match=r"no release 'digits-1' .*; retirements/digits-1 says"):
        delete_release("digits-1", to)


def test_what_an_alias_or_another_release_names_is_not_deleted_without_force(
    here: str, tmp_path: Path
) -> None:
    parent = make_release("parent", here, tmp_path)
    start = {"name": "parent", "sha256": parent.files["weights"].sha256}
    make_release("child", here, tmp_path, started_from=start)
    make_release("other", here, tmp_path, started_from=None)
    promote("production", "child", here)
    with pytest.raises(InputError, match="child is what alias production stands for"):
        delete_release("child", here)
    with pytest.raises(InputError, match="parent is what release child started from: retire it"):
        delete_release("parent", here)
    assert expect_whole_releases(here) == ["child", "other", "parent"]
    assert not any(key.startswith("deletions/") for key in keys(here))
    assert delete_release("child", here, force=True).aliases == ("production",)
    assert find_alias(open_storage(here), "production") is None
    delete_release("parent", here)
    assert release_names(here) == ["other"]


def test_what_a_release_that_cannot_be_read_may_have_started_from_is_not_deleted(
    here: str, tmp_path: Path
) -> None:
    base = make_release("base", here, tmp_path)
    parent = {"name": "base", "sha256": base.files["weights"].sha256}
    make_release("child", here, tmp_path, started_from=parent)
    overwrite(here, "child/manifest.json", b"{")
    with pytest.raises(InputError, match="whether release child started from base cannot be read"):
        delete_release("base", here)
    assert read_release(base.uri) == base
    assert delete_release("base", here, force=True).files[0] == "manifest.json"


def test_an_alias_is_no_name_to_delete_by(here: str, tmp_path: Path) -> None:
    make_release("digits-1", here, tmp_path)
    promote("production", "digits-1", here)
    with pytest.raises(InputError, match="no release 'production'"):
        delete_release("production", here, force=True)
    assert expect_whole_releases(here) == ["digits-1"]


def test_a_release_with_a_broken_manifest_is_deleted_by_force_only(
    here: str, tmp_path: Path
) -> None:
    make_release("digits-1", here, tmp_path)
    overwrite(here, "digits-1/manifest.json", b"{")
    overwrite(here, "digits-1/notes.txt", b"mine")
    with pytest.raises(IntegrityError, match="--force deletes it unread"):
        delete_release("digits-1", here)
    assert collect(here, older_seconds=0, delete=True).unreadable == ("digits-1",)
    assert "digits-1/manifest.json" in keys(here)
    assert delete_release("digits-1", here, force=True).left == ("notes.txt",)
    assert [key for key in keys(here) if key.startswith("digits-1/")] == ["digits-1/notes.txt"]


def test_a_deleted_release_is_not_missed_by_revalidation_and_a_retired_one_is_passed_over(
    here: str, tmp_path: Path
) -> None:
    releases = {name: make_release(name, here, tmp_path) for name in ("a", "b", "c", "d")}
    history = [
        Revalidation(
            release=name,
            uri=release.uri,
            state="confirmed",
            time="2026-01-01T00:00:00Z",
            sha256=release.files["weights"].sha256,
        )
        for name, release in releases.items()
    ]
    retire("b", here, why="mistrained")
    delete_release("c", here)
    assert [(item.name, item.gone) for item in items(here, history)] == [("a", False), ("d", False)]
    # Another release of the name, that was measured and is gone, is missed.
    others = history[2].model_copy(update={"sha256": "0" * 64})
    for file in (*(file.name for file in releases["d"].files.values()), "manifest.json"):
        overwrite(here, f"d/{file}", None)
    gone = [item.name for item in items(here, [*history, others]) if item.gone]
    assert gone == ["c", "d"]
    retire("a", here, why="mistrained")
    with pytest.raises(InputError, match=r"all 2 releases at .* are retired"):
        items(here, [])


def stray(to: str, folder: Path, name: str = "half") -> str:
    """What a publisher leaves that dies before the manifest; returns the key."""
    file = folder / "stray.ckpt"
    file.write_bytes(b"stray")
    storage = open_storage(to)
    manifest = publish.manifest_of(name, {"weights": file}, {})
    key = f"{name}/{manifest.files['weights'].name}"
    storage.upload(file, key, manifest.files["weights"].sha256)
    return key


def test_collect_takes_what_no_manifest_names_and_nothing_else(to: str, tmp_path: Path) -> None:
    make_release("digits-1", to, tmp_path)
    promote("production", "digits-1", to)
    write_index(to)
    overwrite(to, "digits-1/README.md", b"# card")
    foreign = ["notes.txt", "docs/README.md", "digits-1/mine.txt", "data/images/a-0123456789ab.png"]
    for key in foreign:
        path = tmp_path / "releases" / key
        if to.startswith("file:"):
            path.parent.mkdir(parents=True, exist_ok=True)
        overwrite(to, key, b"mine")
    before = keys(to)
    left = [stray(to, tmp_path), stray(to, tmp_path, "digits-1"), "half/README.md"]
    overwrite(to, left[2], b"# card of a release that is no more")
    found = collect(to)
    assert (found.unnamed, found.removed, found.foreign) == ((), (), 4)
    assert {item.key for item in found.young} == set(left)
    found = collect(to, older_seconds=0)
    assert ({item.key for item in found.unnamed}, found.removed) == (set(left), ())
    assert sorted(keys(to)) == sorted([*before, *left])
    found = collect(to, older_seconds=0, delete=True)
    assert set(found.removed) == set(left)
    assert keys(to) == before
    assert expect_whole_releases(to) == ["digits-1"]


def test_a_broken_record_of_retirement_hides_no_release(to: str, tmp_path: Path) -> None:
    make_release("digits-1", to, tmp_path)
    retire("digits-1", to, why="too weak")
    overwrite(to, "retirements/digits-1/000002.json", b"{")
    (found,) = standings(to)
    assert (found.release.name, found.retired) == ("digits-1", "its record cannot be read")


def test_what_lies_behind_a_link_is_another_places_and_stays(here: str, tmp_path: Path) -> None:
    elsewhere = (tmp_path / "elsewhere").as_uri()
    make_release("digits-1", elsewhere, tmp_path)
    make_release("digits-2", here, tmp_path)
    dump = tmp_path / "dump"
    dump.mkdir()
    (dump / "weights-0123456789ab.ckpt").write_bytes(b"of another registry")
    registry = tmp_path / "releases"
    (registry / "digits-1").symlink_to(tmp_path / "elsewhere" / "digits-1")
    (registry / "dump").symlink_to(dump)
    with pytest.raises(InputError, match="digits-1 is a link, and what it leads to"):
        delete_release("digits-1", here, force=True)
    assert expect_whole_releases(elsewhere) == ["digits-1"]
    assert (registry / "digits-1").is_symlink()
    assert collect(here, older_seconds=0, delete=True).removed == ()
    assert [path.name for path in dump.iterdir()] == ["weights-0123456789ab.ckpt"]


def test_uploads_that_did_not_end_are_given_up_once_they_are_old(to: str, tmp_path: Path) -> None:
    make_release("digits-1", to, tmp_path)
    storage: Any = open_storage(to)
    if to.startswith("file:"):
        left = tmp_path / "releases" / "half" / ".aside-left"
        left.mkdir(parents=True)
        (left / ".held").touch()
        (left / "weights.ckpt").write_bytes(b"half of it")
    else:
        where = storage._where("half/weights-0123456789ab.ckpt")
        begun = storage._client.create_multipart_upload(**where)
        part = b"p" * (5 << 20)
        storage._client.upload_part(**where, UploadId=begun["UploadId"], PartNumber=1, Body=part)
    (found,) = storage.unfinished()
    assert found.key.startswith("half/")
    assert found.bytes in (len(b"half of it"), 5 << 20)
    assert abs(found.modified - storage.now()) < 60
    assert collect(to, delete=True).removed == ()
    assert len(storage.unfinished()) == 1
    assert collect(to, older_seconds=0, delete=True).removed == (found.key,)
    assert storage.unfinished() == []
    assert expect_whole_releases(to) == ["digits-1"]


def test_an_upload_of_somebody_elses_in_the_same_bucket_stays(
    s3_environment: object, tmp_path: Path
) -> None:
    to = f"s3://releases/{uuid.uuid4().hex}"
    make_release("digits-1", to, tmp_path)
    storage: Any = open_storage(to)
    for key in ("videos/film.mp4", "digits-1/backup.tar", "dump.tar"):
        storage._client.create_multipart_upload(**storage._where(key))
    found = collect(to, older_seconds=0, delete=True)
    assert (found.unfinished, found.removed, found.foreign) == ((), (), 3)
    assert len(storage.unfinished()) == 3


def test_an_upload_at_work_is_not_given_up_however_old_it_is(here: str, tmp_path: Path) -> None:
    from mixnet_core.storage.asides import held_aside

    make_release("digits-1", here, tmp_path)
    with held_aside(tmp_path / "releases" / "digits-1") as held:
        (held.path / "weights").write_bytes(b"half")
        assert collect(here, older_seconds=0, delete=True).removed == ()
        assert (held.path / "weights").is_file()


@contextmanager
def before_the_manifest(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> Iterator[None]:
    """Has a publisher wait between its files and its manifest while something else happens."""
    require = publish._require_refusal

    def acting(storage: Any, manifest: Any, files: Any) -> None:
        require(storage, manifest, files)
        act()

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_require_refusal", acting)
        yield


def test_a_publisher_puts_right_what_was_collected_while_it_counted_on_it(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "stray.ckpt"
    key = stray(to, tmp_path)

    def collected() -> None:
        assert collect(to, older_seconds=0, delete=True).removed == (key,)

    with before_the_manifest(monkeypatch, collected):
        publish_release("half", registry=to, files={"weights": file}, facts={})
    assert expect_whole_releases(to) == ["half"]


def test_a_manifest_names_what_is_there_though_another_publisher_took_its_files_back(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key = tmp_path / "stray.ckpt", stray(to, tmp_path)
    storage_type = type(open_storage(to))
    create = storage_type.create
    there: list[list[str]] = []

    def creating(self: Any, where: str, content: bytes) -> bool:
        if where == "half/manifest.json":
            there.append(self.names("half"))
        return bool(create(self, where, content))

    def taken_back() -> None:
        open_storage(to).remove(key)
        monkeypatch.setattr(storage_type, "create", creating)

    with before_the_manifest(monkeypatch, taken_back):
        publish_release("half", registry=to, files={"weights": file}, facts={})
    assert there == [[key.partition("/")[2]]]


def test_a_publisher_waits_for_a_deletion_that_began_before_its_manifest(
    here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.ckpt"
    file.write_bytes(b"weights")
    again = {"registry": here, "files": {"weights": file}, "facts": {}}
    release = publish_release("digits-1", **again)  # type: ignore[arg-type]
    storage = open_storage(here)
    started = threading.Event()

    def deleting() -> None:
        # It found no manifest a moment ago; and deletes when one is there by now.
        with deletion_marks.marked(storage, "digits-1"):
            started.set()
            time.sleep(1)
            storage.remove(f"digits-1/{release.files['weights']}")

    storage.remove("digits-1/manifest.json")
    with ThreadPoolExecutor(1) as pool:

        def begin() -> None:
            pool.submit(deleting)
            started.wait(10)

        with before_the_manifest(monkeypatch, begin):
            publish_release("digits-1", **again)  # type: ignore[arg-type]
    assert expect_whole_releases(here) == ["digits-1"]


def test_a_release_published_again_while_it_is_deleted_stands_whole(
    here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.ckpt"
    file.write_bytes(b"weights")
    again = {"registry": here, "files": {"weights": file}, "facts": {}}
    publish_release("digits-1", **again)  # type: ignore[arg-type]
    storage_type = type(open_storage(here))
    remove = storage_type.remove
    monkeypatch.setattr(deletion_marks, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(publish.deletion_marks, "wait_for_deletions", lambda *_: True)

    def removing(self: Any, key: str) -> None:
        remove(self, key)
        if key == "digits-1/manifest.json":
            publish_release("digits-1", **again)  # type: ignore[arg-type]

    monkeypatch.setattr(storage_type, "remove", removing)
    delete_release("digits-1", here)
    assert expect_whole_releases(here) == ["digits-1"]


def test_a_file_that_is_collected_meanwhile_makes_no_store_one_that_overwrites(
    here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def late(storage: Any, key: str, content: bytes) -> None:
        if len(taken) < 2:
            taken.append(key)
            storage.remove(key)
        require_refusal(storage, key, content)

    monkeypatch.setattr(publish, "require_refusal", late)
    make_release("digits-1", here, tmp_path)
    assert len(taken) == 2
    assert expect_whole_releases(here) == ["digits-1"]


def test_of_24_publishers_of_one_name_one_wins_while_others_delete_and_collect(
    to: str, tmp_path: Path
) -> None:
    make_release("digits-0", to, tmp_path)
    file = tmp_path / "w.ckpt"
    file.write_bytes(b"weights")
    start = threading.Barrier(25)

    def run(number: int) -> Release | ReleaseConflict | None:
        start.wait(60)
        if number == 24:
            for _ in range(3):
                collect(to, older_seconds=0, delete=True)
            return None
        try:
            return publish_release(
                "raced", registry=to, files={"weights": file}, facts={"number": number}
            )
        except ReleaseConflict as error:
            return error

    with ThreadPoolExecutor(25) as pool:
        results = list(pool.map(run, range(25)))
    winners = [number for number, item in enumerate(results) if isinstance(item, Release)]
    assert len(winners) == 1
    assert read_release(f"{to}/raced").facts == {"number": winners[0]}
    assert expect_whole_releases(to) == ["digits-0", "raced"]


# Imports once, then forks for every line that it reads: `PLACE ACTION NAME`.
ZYGOTE = """
import os, sys
from mixnet_core.evaluate.report.registry_index import renew_index
from mixnet_core.release.deletion import delete_release
from mixnet_core.release.promotion import promote
from mixnet_core.storage.open import open_storage
open_storage(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    action, name = line.split()
    child = os.fork()
    if child == 0:
        print("begun", os.getpid(), flush=True)
        try:
            if action == "delete":
                delete_release(name, sys.argv[1], force=True)
            else:
                promote("production", name, sys.argv[1])
            renew_index(sys.argv[1])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def test_20_kills_at_random_instants_of_alias_and_delete_leave_whole_releases_or_none(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(19)
    names = [f"digits-{number}" for number in range(6)]
    for name in names:
        make_release(name, to, tmp_path)
    zygote = subprocess.Popen(
        [sys.executable, "-c", ZYGOTE, to],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    killed, turn, seconds = 0, 0, 0.0
    try:
        assert zygote.stdout.readline() == "ready\n"
        while killed < 20:
            turn += 1
            action = "delete" if turn % 2 else "alias"
            standing = release_names(to)
            if len(standing) < 3:
                make_release(f"more-{turn}", to, tmp_path)
            zygote.stdin.write(f"{action} {draw.choice(standing)}\n")
            zygote.stdin.flush()
            _, pid = zygote.stdout.readline().split()
            begun = time.monotonic()
            if seconds:
                time.sleep(draw.uniform(0, seconds))
                # Some are done before that.
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
                    killed += 1
            assert zygote.stdout.readline() == "ended\n"
            # As long as one takes that nobody kills.
            seconds = seconds or time.monotonic() - begun
            standing = expect_files_of_releases(to)
            alias = find_alias(open_storage(to), "production")
            if alias is not None and alias.release in standing:
                assert read_release(f"{to}/production").name == alias.release
    finally:
        zygote.kill()
        zygote.wait()
        zygote.stdin.close()
        zygote.stdout.close()
    monkeypatch.setattr(deletion_marks, "ABANDONED_SECONDS", 0.0)
    standing = expect_whole_releases(to)
    collect(to, older_seconds=0, delete=True)
    assert expect_whole_releases(to) == standing
    storage = open_storage(to)
    named = {
        f"{name}/{file.name}"
        for name in standing
        for file in read_release(f"{to}/{name}").files.values()
    } | {f"{name}/manifest.json" for name in standing}
    left = {key for key in keys(to) if not key.startswith(("aliases/", "retirements/", "index."))}
    assert left == named
    assert storage.unfinished() == []
    # And what was broken off can be done.
    for name in standing[1:]:
        delete_release(name, to, force=True)
    assert release_names(to) == standing[:1]
    assert promote("staging", standing[0], to)
