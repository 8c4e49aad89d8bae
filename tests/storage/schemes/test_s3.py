"""What only S3 can get wrong: on a real server, and on one that a test makes lie."""

from __future__ import annotations

import hashlib
import logging
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
from mixnet_core.storage.s3 import service
from mixnet_core.storage.schemes import s3 as storage_s3
from mixnet_core.storage.storage import Storage
from tests.object_store import ObjectStore
from tests.storage.fault_proxy import (
    FAULTS,
    Answer,
    Fault,
    FaultProxy,
    Forward,
    Request,
    always,
    at,
    refusal,
)
from tests.storage.test_storage import CONTENT, FLIPPED, SHA256, VERBS
from tests.storage.test_transfer import encryption, make_certificate, needs_openssl


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


@pytest.fixture
def large(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path's file in two parts; its digest."""
    monkeypatch.setattr(storage_s3, "MULTIPART_BYTES", 9 << 20)
    path.write_bytes(CONTENT * 40)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def through(store: ObjectStore, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    proxy = FaultProxy(store.endpoint_url, fault)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
    return proxy


def anew() -> Storage:
    return open_storage(f"s3://releases/{uuid.uuid4().hex}")


def gets(proxy: FaultProxy) -> int:
    """Of objects, not of lists."""
    return sum(asked.startswith("GET ") and "?" not in asked for asked in proxy.asked)


@pytest.mark.parametrize("parts", [False, True], ids=["whole", "in parts"])
@pytest.mark.parametrize(
    ("fault", "read"),
    [("none", "confirmed, not read back"), ("checksums ignored", "read back"),
     ("no checksums", "read back")],
)  # fmt: skip
def test_only_what_the_service_did_not_confirm_is_read_back(
    fault: str, read: str, parts: bool, path: Path, s3_environment: ObjectStore,
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    sha256 = request.getfixturevalue("large") if parts else SHA256
    with through(s3_environment, FAULTS[fault](), monkeypatch) as proxy:
        storage = anew()
        storage.exists("before")
        before = gets(proxy)
        with caplog.at_level(logging.DEBUG, "mixnet_core"):
            assert storage.upload(path, "key", sha256)
        # The first looks whether it is there already; where checksums are refused, it is repeated.
        looked = 2 if fault == "no checksums" else 1
        # What was put together without one in the answer is asked for it.
        asked = fault == "checksums ignored" and parts
        assert gets(proxy) - before == looked + asked + (read == "read back")
    assert caplog.messages[-1].endswith(read)
    assert storage.uri in caplog.messages[-1]


def test_the_users_setting_for_services_without_checksums_is_kept_to(
    s3_environment: ObjectStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: set[str] = set()

    def noting(request: Request, forward: Forward) -> Answer | None:
        sent.update(name for name in request.headers if "checksum" in name)
        return forward(request)

    with through(s3_environment, noting, monkeypatch) as proxy:
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        storage = anew()
        assert storage.upload(path, "key", SHA256)
        assert storage.create("other", CONTENT)
        assert sent == set()
        assert gets(proxy) == 3
        assert storage.check_writable() == [service.NO_CHECKSUMS]


def test_a_refused_header_is_tried_once(
    s3_environment: ObjectStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with through(s3_environment, FAULTS["no checksums"](), monkeypatch) as proxy:
        storage = anew()
        storage.upload(path, "one", SHA256)
        before = len(proxy.asked)
        storage.upload(path, "two", SHA256)
        # Looked for, put, read back.
        assert len(proxy.asked) - before == 3


def test_an_object_whose_answer_was_lost_is_known_as_ones_own(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with through(s3_environment, FAULTS["answer lost after PUT"](), monkeypatch):
        storage = anew()
        assert storage.create("key", b"content")
        # An equal one is not.
        assert not storage.create("key", b"content")


def test_a_completion_that_did_not_happen_is_transient(
    s3_environment: ObjectStore, path: Path, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given_up(request: Request, forward: Forward) -> Answer | None:
        if request.is_completion:
            return refusal(request, 404, "NoSuchUpload")
        return forward(request)

    with (
        through(s3_environment, given_up, monkeypatch),
        pytest.raises(TransientError, match="NoSuchUpload"),
    ):
        anew().upload(path, "key", large)


def test_a_download_that_is_cut_short_begins_again(
    s3_environment: ObjectStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    with through(s3_environment, FAULTS["none"](), monkeypatch):
        storage = anew()
        storage.upload(path, "key", SHA256)
    with through(s3_environment, FAULTS["truncated GET"](), monkeypatch):
        target = path.with_name("out")
        again = open_storage(storage.uri)
        assert again.download("key", target, lambda done, _: seen.append(done)) == SHA256
    assert target.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert len(seen) > 1


def test_an_https_endpoint_at_a_port_of_http_is_said(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    https = s3_environment.endpoint_url.replace("http://", "https://")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", https)
    with pytest.raises(InputError, match=r"does not speak TLS .*write http:// instead") as caught:
        anew().names()
    one_line(caught.value, s3_environment)


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Host and port of a server that speaks TLS, with a certificate that nobody signed."""
    monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        context = encryption(make_certificate(tmp_path))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@needs_openssl
@pytest.mark.parametrize("verb", ["names", "exists", "create"])
def test_an_http_endpoint_at_a_port_of_https_is_said(
    s3_environment: ObjectStore, encrypted: str, monkeypatch: pytest.MonkeyPatch, path: Path,
    verb: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{encrypted}")
    with pytest.raises(InputError, match=r"speaks TLS .*write https://") as caught:
        VERBS[verb](open_storage("s3://releases/x"), path)
    one_line(caught.value, s3_environment)


@needs_openssl
def test_a_certificate_that_nobody_signed_is_another_matter(
    s3_environment: ObjectStore, encrypted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"https://{encrypted}")
    with pytest.raises(MachineError, match=r"self-signed certificate.*AWS_CA_BUNDLE") as caught:
        anew().names()
    one_line(caught.value, s3_environment)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://other.example.org:9000/x?X-Amz-Signature=hush", "to https://other.example.org:9"),
        ("//other.example.org/x", "to http://other.example.org "),
        ("", "without saying where"),
        ("/login?token=hush", "does not answer for s3://releases/x as an S3 service does"),
        ("ftp://other.example.org/", "without saying where"),
        ("https://user:hush@other.example.org/", "to https://other.example.org "),
    ],
)
@pytest.mark.parametrize("status", [302, 308])
def test_where_an_endpoint_redirects_to_is_said(
    s3_environment: ObjectStore, status: int, location: str, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with through(s3_environment, always(status, Location=location), monkeypatch):
        storage = open_storage("s3://releases/x")
        for verb in (storage.names, lambda: storage.exists("key")):
            with pytest.raises(InputError) as caught:
                verb()
            assert said in one_line(caught.value, s3_environment)


@pytest.mark.parametrize("status", [501, 505, 507, 511])
def test_a_server_error_that_lasts_is_not_called_passing(
    s3_environment: ObjectStore, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with through(s3_environment, always(status, "NotImplemented"), monkeypatch) as proxy:
        with pytest.raises(MachineError):
            open_storage("s3://releases/x").names()
        assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (502, ""), (504, "")]
)
def test_a_server_error_that_passes_is_tried_again(
    s3_environment: ObjectStore, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with through(s3_environment, at({1}, always(status, code)), monkeypatch) as proxy:
        assert anew().names() == []
        assert len(proxy.asked) == 2


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_check_leaves_nothing_whichever_of_its_requests_meets_another_operation(
    s3_environment: ObjectStore, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S3's reference of error codes on both: try again. boto3 does not.
    with through(s3_environment, at(range(1, 99, 2), always(409, code)), monkeypatch) as proxy:
        storage = anew()
        storage.check_writable()
    assert any(asked.startswith("DELETE ") for asked in proxy.asked)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_environment.endpoint_url)
    assert open_storage(storage.uri).names() == []


def test_a_code_that_a_service_made_up_is_not_repeated(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        through(s3_environment, always(409, "hush \x1b[31m"), monkeypatch),
        pytest.raises(InputError, match="409, without a reason") as caught,
    ):
        open_storage("s3://releases/x").names()
    one_line(caught.value, s3_environment)


def test_where_the_clocks_agree_by_now_no_difference_is_said(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        through(s3_environment, always(403, "RequestTimeTooSkewed"), monkeypatch),
        pytest.raises(MachineError, match="clock and the service's differ: set this"),
    ):
        open_storage("s3://releases/x").names()


@pytest.mark.parametrize("verb", ["check_writable", "upload"])
def test_an_answer_without_what_s3_always_sends_is_one_line(
    s3_environment: ObjectStore, path: Path, large: str, verb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def empty(request: Request, forward: Forward) -> Answer | None:
        return Answer(200) if request.method == "POST" else forward(request)

    with through(s3_environment, empty, monkeypatch):
        storage = anew()
        with pytest.raises(InputError, match=r"does not answer for .* as an S3 service") as caught:
            storage.upload(path, "key", large) if verb == "upload" else storage.check_writable()
    one_line(caught.value, s3_environment)
