"""What only S3 can get wrong: on a real server, and on one that a test makes lie."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
import zlib
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, IntegrityError, MachineError, TransientError
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.schemes import s3 as storage_s3
from tests.object_store import ObjectStore
from tests.storage.test_storage import CONTENT, FLIPPED, SHA256, VERBS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


def one_line(error: BaseException, store: ObjectStore) -> str:
    message = str(error)
    assert "\n" not in message
    assert store.secret_key not in message
    assert store.access_key not in message
    assert "hush" not in message
    return message


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_secret_is_a_machine_error(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch, path: Path, verb: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    with pytest.raises(MachineError, match="refused access to s3://releases/x") as caught:
        VERBS[verb](open_storage("s3://releases/x"), path)
    assert "check the credentials" in one_line(caught.value, s3_environment)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "create"])
def test_a_missing_bucket_is_an_input_error_and_is_not_made(
    s3_environment: ObjectStore, path: Path, verb: str
) -> None:
    with pytest.raises(InputError, match="no bucket 'missing'") as caught:
        VERBS[verb](open_storage("s3://missing/x"), path)
    assert "create it" in one_line(caught.value, s3_environment)
    buckets = s3_environment.client().list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in buckets] == ["releases"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_endpoint_that_does_not_answer_is_transient(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch, path: Path, verb: str
) -> None:
    monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:hush@127.0.0.1:1")
    with pytest.raises(TransientError, match=r"no answer from 127\.0\.0\.1:1") as caught:
        VERBS[verb](open_storage("s3://releases/x"), path)
    assert "check the network" in one_line(caught.value, s3_environment)


def test_missing_credentials_and_a_broken_configuration_are_machine_errors(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(MachineError, match="the AWS configuration does not allow") as caught:
        open_storage("s3://releases/x")
    one_line(caught.value, s3_environment)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(MachineError, match="set AWS_ACCESS_KEY_ID"):
        open_storage("s3://releases/x").names()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "hush")
    with pytest.raises(InputError, match="is no URL") as caught:
        open_storage("s3://releases/x")
    one_line(caught.value, s3_environment)


def test_a_large_file_goes_in_parts_and_is_known_again(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.setattr(storage_s3, "MULTIPART_BYTES", 9 << 20)
    content = CONTENT * 40
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    storage = open_storage(f"s3://releases/{uuid.uuid4().hex}")
    assert storage.upload(path, "large.bin", sha256)
    head = s3_environment.client().head_object(
        Bucket="releases", Key=storage.uri.rpartition("/")[2] + "/large.bin"
    )
    assert head["ETag"].strip('"').endswith("-2")
    assert not storage.upload(path, "large.bin", sha256)
    assert storage.download("large.bin", path.with_name("out")) == sha256


class Lying(BaseHTTPRequestHandler):
    """A service with one object, whose answers a test sets."""

    status = 200
    content = CONTENT
    checksum = b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()
    stalls = False
    mended_by_put = False

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.status == 200:
            self.send_header("Content-Length", str(len(CONTENT)))
            self.send_header("x-amz-checksum-crc32", self.checksum)
        self.end_headers()
        self.wfile.write(self.content)
        if self.stalls:
            # Until the client gives up and hangs up.
            self.rfile.read(1)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.mended_by_put:
            type(self).status, type(self).content = 200, CONTENT
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch, s3_environment: ObjectStore) -> Iterator[type[Lying]]:
    """A service in whose place a test can answer wrongly."""
    handler = type("Handler", (Lying,), {})
    monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        yield handler
        server.shutdown()
        thread.join()


def test_an_object_that_does_not_fit_its_kept_checksum_is_an_integrity_error(
    lying: type[Lying], path: Path
) -> None:
    lying.content = FLIPPED
    storage = open_storage("s3://releases/x")
    with pytest.raises(IntegrityError, match="does not fit the checksum"):
        storage.read("key")
    with pytest.raises(IntegrityError, match="does not fit the checksum"):
        storage.download("key", path.with_name("out"))
    assert not path.with_name("out").exists()


@pytest.mark.parametrize("verb", ["read", "download", "upload"])
def test_an_object_cut_on_the_way_is_transient(lying: type[Lying], path: Path, verb: str) -> None:
    lying.content = CONTENT[:-1]
    with pytest.raises(TransientError):
        VERBS[verb](open_storage("s3://releases/x"), path)
    assert not path.with_name("out").exists()


@pytest.mark.parametrize("verb", ["read", "download", "upload"])
def test_an_answer_that_stalls_is_transient(
    lying: type[Lying], monkeypatch: pytest.MonkeyPatch, path: Path, verb: str
) -> None:
    monkeypatch.setattr(storage_s3, "READ_SECONDS", 0.5)
    lying.content, lying.stalls = CONTENT[:-1], True
    with pytest.raises(TransientError, match="no answer from"):
        VERBS[verb](open_storage("s3://releases/x"), path)
    assert not path.with_name("out").exists()


@pytest.mark.parametrize(("status", "content"), [(200, FLIPPED), (500, b"")])
def test_an_object_that_the_service_itself_finds_damaged_is_repaired(
    lying: type[Lying], path: Path, status: int, content: bytes
) -> None:
    lying.status, lying.content, lying.mended_by_put = status, content, True
    assert open_storage("s3://releases/x").upload(path, "key", SHA256)


def test_a_service_that_does_not_keep_what_it_confirmed_is_found_out(
    lying: type[Lying], path: Path
) -> None:
    lying.content = FLIPPED
    lying.checksum = b64encode(zlib.crc32(FLIPPED).to_bytes(4, "big")).decode()
    with pytest.raises(IntegrityError, match="did not keep what it confirmed"):
        open_storage("s3://releases/x").upload(path, "key", SHA256)
