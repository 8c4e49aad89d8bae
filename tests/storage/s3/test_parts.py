"""Large files on a real S3 server: in parts, killed and gone on with, raced for, and judged."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import IntegrityError, TransientError
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.s3 import parts, service
from mixnet_core.storage.s3 import unfinished as module
from mixnet_core.storage.s3.kept import part_bytes
from mixnet_core.storage.schemes import s3 as storage_s3
from tests.object_store import ObjectStore
from tests.storage.fault_proxy import (
    FAULTS,
    Answer,
    Fault,
    FaultProxy,
    Forward,
    Request,
    always,
    is_part,
    refusal,
    where,
)

# Three parts of 8 MiB, the last one short.
CONTENT = random.Random(1).randbytes((16 << 20) + 1000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_environment: ObjectStore) -> Path:
    monkeypatch.setattr(storage_s3, "MULTIPART_BYTES", 9 << 20)
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights.ckpt"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def uri(s3_environment: ObjectStore) -> str:
    return f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}"


@contextmanager
def through(
    store: ObjectStore, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    with monkeypatch.context() as patch, FaultProxy(store.endpoint_url, fault) as proxy:
        patch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        # The endpoint is a part of what this machine remembers of an upload.
        patch.setattr(parts, "begun_here", lambda name: begun_here(name.partition("/")[2]))
        yield proxy


begun_here = parts.begun_here


def sent(proxy: FaultProxy) -> list[int]:
    """Numbers of the parts that were sent."""
    found = (re.search(r"^PUT .*partNumber=(\d+)", asked) for asked in proxy.asked)
    return sorted(int(match[1]) for match in found if match)


def stored(store: ObjectStore, uri: str) -> str:
    """The digest of what boto3 reads there."""
    key = f"{uri.rpartition('/')[2]}/key"
    body = store.client().get_object(Bucket=store.bucket, Key=key)["Body"]
    return hashlib.sha256(body.read()).hexdigest()


def unfinished(store: ObjectStore, uri: str) -> list[Any]:
    prefix = uri.rpartition("/")[2]
    found = store.client().list_multipart_uploads(Bucket=store.bucket, Prefix=prefix)
    return list(found.get("Uploads", []))


def second_part_lost(request: Request, forward: Forward) -> Answer | None:
    return None if "partNumber=2" in request.path else forward(request)


def interrupt(store: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends all parts but the second one."""
    with monkeypatch.context() as patch, through(store, second_part_lost, monkeypatch):
        patch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
        with pytest.raises(TransientError):
            open_storage(uri).upload(path, "key", SHA256)
    assert len(unfinished(store, uri)) == 1


def test_a_broken_off_upload_goes_on_with_the_parts_that_are_there(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(s3_environment, uri, path, monkeypatch)
    with through(s3_environment, FAULTS["none"](), monkeypatch) as proxy:
        assert open_storage(uri).upload(path, "key", SHA256)
        assert sent(proxy) == [2]
    assert stored(s3_environment, uri) == SHA256
    assert unfinished(s3_environment, uri) == []


def test_of_an_upload_that_is_ended_on_purpose_nothing_is_left(
    s3_environment: ObjectStore, uri: str, path: Path
) -> None:
    def end(done: int, total: int | None) -> None:
        assert len(unfinished(s3_environment, uri)) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_storage(uri).upload(path, "key", SHA256, end)
    assert unfinished(s3_environment, uri) == []
    assert open_storage(uri).upload(path, "key", SHA256)
    assert stored(s3_environment, uri) == SHA256


@pytest.mark.parametrize(("quiet", "expected"), [(900, [1, 2, 3]), (-1, [2])])
def test_another_machines_upload_is_gone_on_with_when_it_was_quiet(
    quiet: int, expected: list[int], s3_environment: ObjectStore, uri: str, path: Path,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    interrupt(s3_environment, uri, path, monkeypatch)
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setattr(module, "QUIET_SECONDS", quiet)
    with through(s3_environment, FAULTS["none"](), monkeypatch) as proxy:
        assert open_storage(uri).upload(path, "key", SHA256)
        assert sent(proxy) == expected
    assert stored(s3_environment, uri) == SHA256
    # One that may be at work is nobody else's to give up.
    assert len(unfinished(s3_environment, uri)) == (1 if quiet > 0 else 0)


def test_parts_of_other_bytes_are_not_taken(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", -1)
    client, bucket = s3_environment.client(), s3_environment.bucket
    key = f"{uri.rpartition('/')[2]}/key"
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")
    for number, part in ((1, bytes(8 << 20)), (2, CONTENT[8 << 20 : 16 << 20])):
        client.upload_part(
            Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=number, Body=part,
            ChecksumAlgorithm="SHA256",
        )  # fmt: skip
    with through(s3_environment, FAULTS["none"](), monkeypatch) as proxy:
        assert open_storage(uri).upload(path, "key", SHA256)
        assert sent(proxy) == [1, 3]
    assert stored(s3_environment, uri) == SHA256


def test_an_upload_that_cannot_be_completed_as_it_was_begun_is_begun_anew(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(s3_environment, uri, path, monkeypatch)
    first = unfinished(s3_environment, uri)[0]["UploadId"]

    def refused(request: Request, forward: Forward) -> Answer | None:
        if request.is_completion and first in request.path:
            return refusal(request, 400, "InvalidPart")
        return forward(request)

    with through(s3_environment, refused, monkeypatch) as proxy:
        assert open_storage(uri).upload(path, "key", SHA256)
        assert sent(proxy) == [1, 2, 2, 3]
    assert stored(s3_environment, uri) == SHA256
    assert unfinished(s3_environment, uri) == []


def test_what_is_complete_is_known_by_its_checksum_and_not_read(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_storage(uri).upload(path, "key", SHA256)
    # Who reads it reads something else.
    with through(s3_environment, FAULTS["wrong bytes received"](), monkeypatch) as proxy:
        assert not open_storage(uri).upload(path, "key", SHA256)
        assert sent(proxy) == []
        assert open_storage(uri).upload(path, "key", SHA256, reread=True)
        assert sent(proxy) == [1, 2, 3]


def test_progress_is_told_to_the_end(uri: str, path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    open_storage(uri).upload(path, "key", SHA256, lambda *progress: seen.append(progress))
    assert seen == [(part, len(CONTENT)) for part in (8 << 20, 16 << 20, len(CONTENT))]


def test_wrong_bytes_on_the_way_are_refused_and_nothing_is_left(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        through(s3_environment, FAULTS["wrong bytes in a part"](), monkeypatch),
        pytest.raises(IntegrityError, match="nothing was stored"),
    ):
        open_storage(uri).upload(path, "key", SHA256)
    assert open_storage(uri).names() == []
    assert unfinished(s3_environment, uri) == []


def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(request: Request, forward: Forward) -> Answer | None:
        if request.method == "POST" and not request.is_completion:
            path.write_bytes(CONTENT[::-1])
        return forward(request)

    with (
        through(s3_environment, changing, monkeypatch),
        pytest.raises(IntegrityError, match="it changed after it was hashed"),
    ):
        open_storage(uri).upload(path, "key", SHA256)
    assert open_storage(uri).names() == []
    assert unfinished(s3_environment, uri) == []


def shorten(path: Path) -> None:
    os.truncate(path, 20 << 19)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(16 << 20)
        file.write(bytes(1000))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(len(CONTENT)))
    other.replace(path)


def upload_while(
    change: Callable[[Path], None],
    store: ObjectStore,
    uri: str,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Uploads a file that changes after all of it was hashed, while its first part is sent."""
    changed = []

    def changing(request: Request, forward: Forward) -> Answer | None:
        if is_part(request) and not changed:
            changed.append(True)
            time.sleep(1)
            change(path)
        return forward(request)

    monkeypatch.setattr(parts, "WORKERS", 1)
    with through(store, changing, monkeypatch):
        open_storage(uri).upload(path, "key", SHA256)


@pytest.mark.parametrize("change", [shorten, overwrite])
def test_a_file_that_changes_after_it_was_hashed_is_not_stored(
    change: Callable[[Path], None], s3_environment: ObjectStore, uri: str, path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with pytest.raises(IntegrityError):
        upload_while(change, s3_environment, uri, path, monkeypatch)
    assert open_storage(uri).names() == []
    assert unfinished(s3_environment, uri) == []


def test_a_file_that_takes_the_name_meanwhile_changes_nothing(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_while(replace, s3_environment, uri, path, monkeypatch)
    assert stored(s3_environment, uri) == SHA256


def test_what_would_fail_again_is_given_up(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = where(is_part, always(507, "XMinioStorageFull"))
    with through(s3_environment, full, monkeypatch), pytest.raises(Exception, match="has no room"):
        open_storage(uri).upload(path, "key", SHA256)
    assert unfinished(s3_environment, uri) == []


def test_checksums_that_a_store_takes_without_looking_confirm_nothing(
    s3_environment: ObjectStore, uri: str, path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with through(s3_environment, FAULTS["checksums believed"](), monkeypatch):
        storage = open_storage(uri)
        with caplog.at_level(logging.DEBUG, "mixnet_core"):
            assert storage.upload(path, "key", SHA256)
        assert caplog.messages[-1].endswith("/key: read back")
        assert storage.check_writable() == [service.UNVERIFIED]
        assert storage.names() == ["key"]


def test_24_uploads_of_one_file_at_once_leave_it_whole(
    s3_environment: ObjectStore, uri: str, path: Path
) -> None:
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda _: open_storage(uri).upload(path, "key", SHA256), range(24)))
    assert stored(s3_environment, uri) == SHA256
    assert unfinished(s3_environment, uri) == []
    assert not open_storage(uri).upload(path, "key", SHA256)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(65 << 20, 16 << 20), (2_000_000_000, 16 << 20), (200 << 30, 21 << 20)],
)
def test_parts_are_as_large_as_ten_thousand_of_them_need(size: int, expected: int) -> None:
    assert part_bytes(size, 64 << 20) == expected
    assert -(-size // expected) <= 10_000
