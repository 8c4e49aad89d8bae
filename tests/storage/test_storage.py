"""The same promises on a folder and on a real S3 server."""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, IntegrityError, MachineError
from mixnet_core.storage.open import open_object, open_storage
from mixnet_core.storage.schemes import s3 as storage_s3
from mixnet_core.storage.schemes.file import FileStorage
from mixnet_core.storage.storage import Storage, checked_key

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FLIPPED = CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(params=["file", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "file":
        return open_storage((tmp_path / "made later" / "place").as_uri())
    request.getfixturevalue("s3_environment")
    return open_storage(f"s3://releases/{uuid.uuid4().hex}")


VERBS: dict[str, Callable[[Storage, Path], object]] = {
    "read": lambda storage, _: storage.read("key"),
    "exists": lambda storage, _: storage.exists("key"),
    "names": lambda storage, _: storage.names(),
    "upload": lambda storage, path: storage.upload(path, "key", SHA256),
    "download": lambda storage, path: storage.download("key", path.with_name("out")),
    "create": lambda storage, _: storage.create("key", b"content"),
    "listed": lambda storage, _: storage.listed(),
    "unfinished": lambda storage, _: storage.unfinished(),
    "check_writable": lambda storage, _: storage.check_writable(),
}


def put(storage: Storage, key: str, content: bytes, path: Path) -> None:
    path.write_bytes(content)
    storage.upload(path, key, hashlib.sha256(content).hexdigest())


def damage(storage: Storage, key: str, content: bytes) -> None:
    """Puts other bytes there, past every check."""
    if isinstance(storage, FileStorage):
        (storage.root / key).write_bytes(content)
    else:
        assert isinstance(storage, storage_s3.S3Storage)
        storage._client.put_object(Bucket=storage.bucket, Key=storage._key(key), Body=content)


def test_what_was_uploaded_comes_back(storage: Storage, path: Path, tmp_path: Path) -> None:
    assert storage.upload(path, "folder/file.bin", SHA256)
    assert storage.exists("folder/file.bin")
    assert storage.read("folder/file.bin") == CONTENT
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "out.bin"
    got = storage.download("folder/file.bin", target, lambda *progress: seen.append(progress))
    assert got == SHA256
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_an_upload_again_transfers_nothing(storage: Storage, path: Path) -> None:
    assert storage.upload(path, "file.bin", SHA256)
    assert not storage.upload(path, "file.bin", SHA256)


@pytest.mark.parametrize("wrong", [FLIPPED, CONTENT[:-1], b""], ids=["flipped", "short", "empty"])
def test_wrong_bytes_in_storage_are_repaired(storage: Storage, path: Path, wrong: bytes) -> None:
    storage.upload(path, "file.bin", SHA256)
    damage(storage, "file.bin", wrong)
    assert storage.upload(path, "file.bin", SHA256)
    assert storage.read("file.bin") == CONTENT


def test_a_file_that_changed_since_it_was_hashed_is_not_stored(
    storage: Storage, path: Path
) -> None:
    path.write_bytes(FLIPPED)
    with pytest.raises(IntegrityError, match="it changed after it was hashed"):
        storage.upload(path, "file.bin", SHA256)
    assert not storage.exists("file.bin")
    with pytest.raises((InputError, MachineError), match="gone"):
        storage.upload(path.with_name("gone"), "file.bin", SHA256)


def test_what_is_missing_is_an_input_error(storage: Storage, tmp_path: Path) -> None:
    storage.create("other", b"")
    assert not storage.exists("missing")
    with pytest.raises(InputError, match="missing"):
        storage.read("missing")
    with pytest.raises(InputError, match="missing"):
        storage.download("missing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_are_those_directly_in_a_folder(storage: Storage, path: Path) -> None:
    assert storage.names() == []
    for key in ("b", "a/x", "a/sub/y", "ab/z", "c d+é"):
        put(storage, key, b"content", path)
    assert storage.names() == ["a/", "ab/", "b", "c d+é"]
    assert storage.names("a") == storage.names("a/") == ["sub/", "x"]
    assert storage.names("none") == []


def test_all_objects_are_listed_with_size_and_age(storage: Storage, path: Path) -> None:
    assert storage.listed() == []
    before = storage.now()
    for key in ("b", "a/x", "a/sub/y", "ab/z"):
        put(storage, key, b"content", path)
    assert [(item.key, item.bytes) for item in storage.listed()] == [
        ("a/sub/y", 7),
        ("a/x", 7),
        ("ab/z", 7),
        ("b", 7),
    ]
    assert [item.key for item in storage.listed("a")] == ["a/sub/y", "a/x"]
    assert storage.listed("none") == []
    # Both are by the store's clock, which may say whole seconds.
    assert all(before - 2 <= item.modified <= storage.now() + 2 for item in storage.listed())
    assert storage.unfinished() == []


def test_one_of_eight_racing_creators_wins(storage: Storage) -> None:
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait(30)
        return storage.create("key", f"writer {number}".encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert storage.read("key") == f"writer {won.index(True)}".encode()
    assert storage.names() == ["key"]


def test_a_writability_check_leaves_nothing(storage: Storage) -> None:
    assert storage.check_writable() == []
    assert storage.names() == []
    assert not storage.is_there()


def test_a_check_does_not_disturb_what_is_there(storage: Storage, path: Path) -> None:
    storage.upload(path, "folder/file.bin", SHA256)
    storage.check_writable()
    assert storage.names() == ["folder/"]
    assert storage.is_there()


def test_what_is_removed_is_gone_and_again_is_no_error(storage: Storage, path: Path) -> None:
    storage.upload(path, "folder/file.bin", SHA256)
    storage.remove("folder/file.bin")
    storage.remove("folder/file.bin")
    assert not storage.exists("folder/file.bin")


def test_a_single_writer_creates_once_too(storage: Storage) -> None:
    storage.single_writer = True
    assert storage.create("key", b"first")
    assert not storage.create("key", b"second")
    assert storage.read("key") == b"first"


def test_an_interrupted_download_leaves_the_old_file(storage: Storage, path: Path) -> None:
    storage.upload(path, "file.bin", SHA256)
    path.write_bytes(b"old")

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.download("file.bin", path, interrupt)
    assert path.read_bytes() == b"old"
    assert [item.name for item in path.parent.iterdir() if item.is_file()] == [path.name]


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../x", "a/../b", "/abs", "a//b", "a\\b", "a\0", "a/"]
)
def test_a_key_that_could_leave_the_place_is_refused(
    storage: Storage, key: str, path: Path
) -> None:
    with pytest.raises(InputError, match="no usable key"):
        checked_key(key)
    for verb in (
        lambda: storage.read(key),
        lambda: storage.exists(key),
        lambda: storage.upload(path, key, SHA256),
        lambda: storage.download(key, path.with_name("out")),
        lambda: storage.create(key, b""),
    ):
        with pytest.raises(InputError, match="no usable key"):
            verb()


@pytest.mark.parametrize("verb", ["upload", "create", "check_writable"])
def test_a_folder_that_cannot_be_written_is_named(path: Path, verb: str) -> None:
    storage = open_storage(str(path / "below a file"))
    with pytest.raises(MachineError, match=r"below a file.*a part of the path is a file"):
        VERBS[verb](storage, path)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a read-only file system")
def test_a_read_only_file_system_is_a_machine_error() -> None:
    with pytest.raises(MachineError, match="cannot write /proc"):
        open_storage("/proc/releases").check_writable()


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("file:///a/b/", "file:///a/b"),
        ("file:///a%20b", "file:///a%20b"),
        ("/a b/c", "file:///a%20b/c"),
        ("file:///", "file://"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
    ],
)
def test_a_uri_has_one_canonical_form(
    uri: str, canonical: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert open_storage(uri).uri == canonical


@pytest.mark.parametrize(
    "uri",
    ["", " ", "file:/a", "s3:/b", "file://relative/a", "ftp://h/a", "s3://", "s3:///a", "s3://B/a",
     "s3://bucket/../a", "s3://bucket//a", "s3://key:hush@bucket/a", "s3://key:hu/sh@bucket/a",
     "https://key:hush@host/a"],
)  # fmt: skip
def test_a_uri_that_is_no_storage_is_refused_without_its_secrets(uri: str) -> None:
    with pytest.raises(InputError) as caught:
        open_storage(uri)
    assert "\n" not in str(caught.value)
    assert "hu" not in str(caught.value)


def test_an_objects_uri_is_split_into_storage_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for uri, place, key in [
        ("file:///a/b%20c", "file:///a", "b c"),
        ("file:///a/", "file://", "a"),
        ("/a/b", "file:///a", "b"),
        ("s3://bucket/a/b/", "s3://bucket/a", "b"),
        ("s3://bucket/a", "s3://bucket", "a"),
    ]:
        storage, got = open_object(uri)
        assert (storage.uri, got) == (place, key)
    for uri in ("s3://bucket", "name", "", "file:///"):
        with pytest.raises(InputError):
            open_object(uri)
