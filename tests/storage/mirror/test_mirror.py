"""Prefixes of a real store as folders."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.storage.mirror import fetching, holding, mirror, room
from mixnet_core.storage.mirror.mirror import Fetched, Mirror
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.s3 import objects as s3_objects
from mixnet_core.storage.user_cache import VARIABLE
from tests.object_store import ObjectStore
from tests.small_disk import small_disk

FILES = {
    "train/cat/1.png": b"one",
    "train/cat/2.png": b"two",
    "train/dog/A.png": b"upper",
    "train/dog/a.png": b"lower",
    ".hidden/x": b"",
    "train.csv": b"path,label\n",
}


@pytest.fixture
def store(
    s3_environment: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return s3_environment


def put(store: ObjectStore, prefix: str, files: dict[str, bytes]) -> None:
    client = store.client()
    for key, content in files.items():
        client.put_object(Bucket=store.bucket, Key=f"{prefix}/{key}", Body=content)


def opened(store: ObjectStore, prefix: str) -> Mirror:
    storage: Any = open_storage(f"s3://{store.bucket}/{prefix}")
    return Mirror(storage)


def fetched(of: Mirror, told: list[Fetched] | None = None, seconds: float = 0) -> Path:
    return of.fetched(([] if told is None else told).append, seconds)


def found(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_prefix_becomes_the_folder_that_it_looks_like(store: ObjectStore) -> None:
    put(store, "looks", {**FILES, "val/": b"", "val/cat/": b""})
    folder = fetched(opened(store, "looks/"))
    assert folder.name == "looks"
    assert found(folder) == FILES
    assert (folder / "val/cat").is_dir()


def test_what_is_there_is_not_fetched_again(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "again", FILES)
    first = fetched(opened(store, "again"))
    monkeypatch.setattr(mirror, "fetch", lambda *_, **__: pytest.fail("it fetched"))
    assert fetched(opened(store, "again")) == first


def test_what_changed_is_fetched_and_what_others_read_stays(store: ObjectStore) -> None:
    put(store, "changes", FILES)
    before = fetched(opened(store, "changes"))
    put(store, "changes", {"train/cat/1.png": b"ONE", "train/cat/3.png": b"three"})
    told: list[Fetched] = []
    after = fetched(opened(store, "changes"), told)
    assert found(after) == FILES | {"train/cat/1.png": b"ONE", "train/cat/3.png": b"three"}
    assert found(before) == FILES
    assert "8 B, are to be fetched" in told[1].said
    store.client().delete_object(Bucket=store.bucket, Key="changes/train/cat/3.png")
    assert "train/cat/3.png" not in found(fetched(opened(store, "changes")))


def test_more_objects_than_one_answer_lists(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "PAGE", 5)
    files = {f"{number:02d}": b"x" for number in range(23)}
    put(store, "many", files)
    assert found(fetched(opened(store, "many"))) == files
    assert opened(store, "many").plan(most=22) is None
    assert opened(store, "many").plan(most=23) is not None


def test_a_large_object_comes_in_stretches_and_its_rest_after_an_interruption(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "STRETCH_BYTES", 1 << 20)
    content = os.urandom((5 << 20) + 7)
    put(store, "large", {"one.tar": content})
    of = opened(store, "large")
    real, received = of._objects.receive, []

    def receive(listed: Any, begin: Any, write: Any, *, start: int, length: int) -> bool:
        received.append(start)
        if start == 3 << 20 and len(received) <= 6:
            # When the others are done.
            time.sleep(0.3)
            raise MachineError("the line is cut")
        return real(listed, begin, write, start=start, length=length)

    monkeypatch.setattr(of._objects, "receive", receive)
    with pytest.raises(MachineError):
        fetched(of)
    assert sorted(received) == [n << 20 for n in range(6)]
    assert found(fetched(of)) == {"one.tar": content}
    assert received[6:] == [3 << 20]


def test_an_object_that_changes_while_it_is_fetched_is_listed_again(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "writing", FILES)
    of = opened(store, "writing")
    real, listings = of._objects.objects, [0]

    def change(version: str) -> None:
        put(store, "writing", {"train/cat/1.png": f"{listings[0]} {version}".encode()})

    def objects(most: int | None = None) -> Any:
        listings[0] += 1
        change("older")
        listed = real(most)
        if listings[0] != 3:
            change("newer")
        return listed

    monkeypatch.setattr(of._objects, "objects", objects)
    told: list[Fetched] = []
    assert found(fetched(of, told))["train/cat/1.png"] == b"3 older"
    assert len([step for step in told if "changed while they were fetched" in step.said]) == 2
    with pytest.raises(TransientError, match="changes while it is fetched, as train/cat/1"):
        fetched(of)


def test_bytes_that_were_lost_on_the_way_are_fetched_again(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "lost", {"1.png": b"one"})
    of = opened(store, "lost")
    real, times = of._objects.receive, [0]

    def receive(listed: Any, begin: Any, write: Any, **more: Any) -> bool:
        times[0] += 1
        if times[0] == 1:
            return real(listed, begin, lambda chunk: write(b"On" + chunk[2:]), **more)
        return real(listed, begin, write, **more)

    monkeypatch.setattr(of._objects, "receive", receive)
    assert found(fetched(of)) == {"1.png": b"one"}
    assert times == [2]


def test_an_object_that_came_in_parts_has_no_md5_for_its_etag(store: ObjectStore) -> None:
    client = store.client()
    where = {"Bucket": store.bucket, "Key": "parts/1.bin"}
    upload = client.create_multipart_upload(**where)["UploadId"]
    bodies = [os.urandom(5 << 20), b"the end"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)[
                "ETag"
            ],
        }
        for number, body in enumerate(bodies, 1)
    ]
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    assert found(fetched(opened(store, "parts"))) == {"1.bin": b"".join(bodies)}


@pytest.mark.parametrize("damage", ["removed", "written over", "cut"])
def test_a_file_of_the_mirror_that_somebody_damaged_is_fetched_again(
    store: ObjectStore, damage: str
) -> None:
    put(store, "damage", FILES)
    file = fetched(opened(store, "damage")) / "train/cat/1.png"
    if damage == "removed":
        file.unlink()
    else:
        file.chmod(0o600)
        file.write_bytes(b"One" if damage == "written over" else b"")
    assert found(fetched(opened(store, "damage"))) == FILES


def test_one_process_at_a_time_fetches_and_others_find_it_done(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "shared", FILES)
    real, calls = mirror.fetch, []

    def slowly(*args: Any, **more: Any) -> Any:
        calls.append(args)
        time.sleep(0.7)
        return real(*args, **more)

    monkeypatch.setattr(mirror, "fetch", slowly)
    folders: list[Path] = []
    told: list[Fetched] = []
    threads = [
        threading.Thread(target=lambda: folders.append(fetched(opened(store, "shared"), told)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders[0] == folders[1]
    assert len(calls) == 1
    assert [step for step in told if "another process fetches" in step.said]


def test_a_place_that_is_no_folder_of_data_is_refused_in_one_line(store: ObjectStore) -> None:
    put(store, "single", {"one.tar": b"tar"})
    for prefix, words in (
        ("single/one.tar", "is one object: expected the prefix"),
        ("nothing/there", "nothing is below s3://releases/nothing/there"),
    ):
        with pytest.raises(InputError, match=words):
            fetched(opened(store, prefix))
    nowhere: Any = open_storage("s3://none-such/x")
    with pytest.raises(InputError, match="no bucket 'none-such'"):
        fetched(Mirror(nowhere), seconds=60)


def test_a_wrong_key_is_not_waited_for(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "key", FILES)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(MachineError, match="the secret does not fit the access key"):
        fetched(opened(store, "key"), seconds=60)


def test_what_does_not_fit_is_refused_before_anything_is_fetched(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "full", {"large": bytes(9 << 20)})
    with small_disk(tmp_path / "disk", "8m") as disk:
        monkeypatch.setenv(VARIABLE, str(disk))
        monkeypatch.setattr(room, "SPARE_BYTES", 0)
        monkeypatch.setenv(room.VARIABLE, "1GB")
        with pytest.raises(MachineError, match=r"needs 9\.4 MB more, 8\.\d MB are free"):
            fetched(opened(store, "full"))
        monkeypatch.setenv(room.VARIABLE, "5MB")
        with pytest.raises(MachineError, match=r"has 9\.4 MB, mirrors in .* may take 5\.0 MB"):
            opened(store, "full").plan()
        assert not [path for path in disk.rglob("pool/*/*") if path.is_file()]
    monkeypatch.setenv(room.VARIABLE, "much")
    with pytest.raises(InputError, match="expected a size, as 500GB"):
        opened(store, "full").plan()


def test_mirrors_that_nobody_uses_make_room_the_least_recently_used_first(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = {}
    for age, name in enumerate(("in use", "oldest", "recent")):
        prefix = f"room-{name.replace(' ', '-')}"
        put(store, prefix, {"file": os.urandom(1_000_000)})
        of = opened(store, prefix)
        fetched(of)
        os.utime(of.root / ".used", (age, age))
        if name != "in use":
            let_go(of.root)
        roots[name] = of.root
    put(store, "room-new", {"file": os.urandom(1_000_000)})
    monkeypatch.setenv(room.VARIABLE, "3.5MB")
    fetched(opened(store, "room-new"))
    assert {name for name, root in roots.items() if root.exists()} == {"in use", "recent"}
    monkeypatch.setenv(room.VARIABLE, "1.5MB")
    put(store, "room-newest", {"file": os.urandom(1_000_000)})
    with pytest.raises(MachineError, match="mirrors that are in use have 2"):
        fetched(opened(store, "room-newest"))


def test_listings_that_nobody_reads_any_more_make_room_too(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(room.VARIABLE, "2.5MB")
    for _ in range(4):
        put(store, "old", {"file": os.urandom(1_000_000)})
        of = opened(store, "old")
        folder = fetched(of)
        assert len(found(folder)) == 1
        assert room.taken_by(of.root) < 2_500_000
        let_go(of.root)


def test_two_that_fetch_at_once_share_the_room(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(room.VARIABLE, "3MB")
    mirrors = []
    for name in ("first", "second"):
        put(store, f"both-{name}", {str(n): os.urandom(1_000_000) for n in range(2)})
        mirrors.append(opened(store, f"both-{name}"))
    real, refused = mirror.fetch, []

    def while_one_is_fetched(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(mirror, "fetch", real)
        with pytest.raises(MachineError, match=r"needs 2\.0 MB more") as error:
            fetched(mirrors[1])
        refused.append(error)
        return real(*args, **more)

    monkeypatch.setattr(mirror, "fetch", while_one_is_fetched)
    fetched(mirrors[0])
    assert refused
    let_go(mirrors[0].root)
    fetched(mirrors[1])
    assert not mirrors[0].root.exists()


def test_a_mirror_that_was_removed_by_hand_is_in_use_again_once_it_is_fetched(
    store: ObjectStore,
) -> None:
    put(store, "by-hand", FILES)
    of = opened(store, "by-hand")
    fetched(of)
    shutil.rmtree(of.root)
    fetched(of)
    with holding.if_unused(of.root) as unused:
        assert not unused


def let_go(root: Path) -> None:
    """As the end of this process would."""
    os.close(holding._held.pop(root))
