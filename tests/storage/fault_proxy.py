"""A proxy in front of an S3 service that has one fault: what it lacks, answers or loses.

A fault is a function of a request and of a way to forward it; it returns the answer, or None to
hang up without one. `FAULTS` makes each anew, as some count. `at` has one happen to some requests
only, so that a search can put any fault anywhere:

    with FaultProxy(store.endpoint_url, at({3}, lost_answer)) as proxy:
        ...  # AWS_ENDPOINT_URL_S3 is proxy.url
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """One request as the client sent it; header names in small letters."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_completion(self) -> bool:
        return self.method == "POST" and "uploadId=" in self.path

    @property
    def key(self) -> str:
        return self.path.partition("?")[0]


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        length: what Content-Length says; None: the body's. A body that is shorter is cut short.
            Below 0 none is sent, as by proxies that rewrite answers.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    length: int | None = None


Forward = Callable[[Request], Answer]
Fault = Callable[[Request, Forward], Answer | None]


def refusal(
    request: Request, status: int, code: str = "", *, more: str = "", **headers: str
) -> Answer:
    """An S3 error; without a code, and to HEAD, there is no body. Underscores become hyphens."""
    body = f"<Error><Code>{code}</Code><Message>.</Message>{more}</Error>" if code else ""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    content = b"" if request.method == "HEAD" else body.encode()
    return Answer(status, [("Content-Type", "application/xml"), *named], content)


def at(numbers: Container[int], fault: Fault) -> Fault:
    """A fault of the requests with these numbers, counted from 1."""
    count = 0

    def sometimes(request: Request, forward: Forward) -> Answer | None:
        nonlocal count
        count += 1
        return fault(request, forward) if count in numbers else forward(request)

    return sometimes


def once_a_key(fault: Fault, wanted: Callable[[Request], bool]) -> Fault:
    """A fault of the first such request for each key."""
    seen: set[str] = set()

    def first(request: Request, forward: Forward) -> Answer | None:
        if not wanted(request) or request.key in seen:
            return forward(request)
        seen.add(request.key)
        return fault(request, forward)

    return first


def where(wanted: Callable[[Request], bool], fault: Fault) -> Fault:
    """A fault of some kind of request."""
    return lambda request, forward: (fault if wanted(request) else sound)(request, forward)


def both(first: Fault, second: Fault) -> Fault:
    """One fault in front of the other, which has to answer."""

    def through(request: Request, forward: Forward) -> Answer | None:
        def then(request: Request) -> Answer:
            answer = second(request, forward)
            assert answer is not None
            return answer

        return first(request, then)

    return through


def always(status: int, code: str = "", *, more: str = "", **headers: str) -> Fault:
    """The same refusal, whatever is asked."""
    return lambda request, _: refusal(request, status, code, more=more, **headers)


def sound(request: Request, forward: Forward) -> Answer | None:
    return forward(request)


def lost_answer(request: Request, forward: Forward) -> Answer | None:
    """Done, and nobody is told."""
    forward(request)
    return None


def cut_short(request: Request, forward: Forward) -> Answer | None:
    answer = forward(request)
    return replace(answer, body=answer.body[: len(answer.body) // 2], length=len(answer.body))


def wrong_bytes_sent(request: Request, forward: Forward) -> Answer | None:
    return forward(replace(request, body=flipped(request.body)))


def wrong_bytes_received(request: Request, forward: Forward) -> Answer | None:
    answer = forward(request)
    return replace(answer, body=flipped(answer.body)) if answer.status == 200 else answer


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:] if content else content


def without_checksums(request: Request, forward: Forward) -> Answer | None:
    if any(name.startswith(("x-amz-checksum", "x-amz-sdk-checksum")) for name in request.headers):
        return refusal(request, 400, "InvalidArgument")
    return forward(request)


def without_conditions(request: Request, forward: Forward) -> Answer | None:
    if "if-none-match" in request.headers:
        return refusal(request, 501, "NotImplemented")
    return forward(request)


def with_conditions_ignored(request: Request, forward: Forward) -> Answer | None:
    """Answered as if it had been written over: nothing can drop a condition that is signed."""
    answer = forward(request)
    if "if-none-match" in request.headers and answer.status == 412:
        return Answer(200, [("ETag", '"0"')])
    return answer


def with_checksums_ignored(request: Request, forward: Forward) -> Answer | None:
    """Neither looked at nor answered with."""
    answer = forward(request)
    kept = [item for item in answer.headers if not item[0].lower().startswith("x-amz-checksum")]
    if not request.is_completion:
        return replace(answer, headers=kept)
    # A completion says it in its body.
    body = re.sub(rb"<Checksum(\w+)>[^<]*</Checksum\1>", b"", answer.body)
    kept = [item for item in kept if item[0].lower() != "content-length"]
    return replace(answer, headers=kept, body=body)


def with_checksums_believed(request: Request, forward: Forward) -> Answer | None:
    """Answered with as they came, whatever the bytes are."""
    answer = forward(request)
    believed = request.headers.get("x-amz-checksum-sha256")
    if believed and answer.status == 400 and b"BadDigest" in answer.body:
        return Answer(200, [("ETag", '"0"'), ("x-amz-checksum-sha256", believed)])
    return answer


def without_parts(request: Request, forward: Forward) -> Answer | None:
    if request.method == "POST":
        return refusal(request, 501, "NotImplemented")
    return forward(request)


def expired(request: Request, _: Forward) -> Answer | None:
    return refusal(request, 400, "ExpiredToken")


def skewed(request: Request, _: Forward) -> Answer | None:
    behind = format_datetime(datetime.now(UTC) + timedelta(minutes=50), usegmt=True)
    return refusal(request, 403, "RequestTimeTooSkewed", Date=behind)


def page(request: Request, _: Forward) -> Answer | None:
    """A web server of another kind."""
    body = b"" if request.method == "HEAD" else b"<html><body>Welcome</body></html>"
    return Answer(200, [("Content-Type", "text/html")], body)


def completion_lost() -> Fault:
    """As Amazon's: what was completed is no upload any more."""
    completed: set[str] = set()

    def lost(request: Request, forward: Forward) -> Answer | None:
        if not request.is_completion:
            return forward(request)
        if request.path in completed:
            return refusal(request, 404, "NoSuchUpload")
        completed.add(request.path)
        return lost_answer(request, forward)

    return lost


def first_content_cut_short() -> Fault:
    """The first time that an object's content is answered; what is missing at first is not it."""
    seen: set[str] = set()

    def cut(request: Request, forward: Forward) -> Answer | None:
        answer = forward(request)
        if not is_get(request) or answer.status != 200 or request.key in seen:
            return answer
        seen.add(request.key)
        return replace(answer, body=answer.body[: len(answer.body) // 2], length=len(answer.body))

    return cut


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def is_part(request: Request) -> bool:
    return request.method == "PUT" and "partNumber=" in request.path


def is_get(request: Request) -> bool:
    return request.method == "GET"


def is_write(request: Request) -> bool:
    return request.method in ("PUT", "POST")


SIGNED = "https://storage.example.org/releases/x?X-Amz-Signature=hush"
REGION = "<Endpoint>releases.s3.eu-west-1.amazonaws.com</Endpoint>"

FAULTS: dict[str, Callable[[], Fault]] = {
    "none": lambda: sound,
    "no checksums": lambda: without_checksums,
    "checksums ignored": lambda: with_checksums_ignored,
    "checksums believed": lambda: with_checksums_believed,
    "no conditions": lambda: without_conditions,
    "conditions ignored": lambda: with_conditions_ignored,
    "no checksums, no conditions": lambda: both(without_checksums, without_conditions),
    "no uploads in parts": lambda: without_parts,
    "507 storage full": lambda: where(is_write, always(507, "XMinioStorageFull")),
    "403 quota": lambda: where(is_write, always(403, "QuotaExceeded")),
    "301 to https": lambda: always(301, Location=SIGNED),
    "307 to another host": lambda: always(307, Location=SIGNED),
    "301 another region": lambda: always(
        301, "PermanentRedirect", more=REGION, x_amz_bucket_region="eu-west-1"
    ),
    "bare 400": lambda: always(400),
    "bare 403": lambda: always(403),
    "400 expired token": lambda: expired,
    "403 skew": lambda: skewed,
    "403 unknown key": lambda: always(403, "InvalidAccessKeyId"),
    "403 read only": lambda: where(is_write, always(403, "AccessDenied")),
    "503 x3": lambda: at({1, 2, 3}, always(503, "ServiceUnavailable")),
    "503 for ever": lambda: always(503, "ServiceUnavailable"),
    "answer lost after PUT": lambda: once_a_key(lost_answer, is_put),
    "answer lost after complete": completion_lost,
    "answer lost after a part": lambda: once_a_key(lost_answer, is_part),
    "503 to two parts": lambda: where(is_part, at({1, 2}, always(503, "SlowDown"))),
    "wrong bytes in a part": lambda: where(is_part, wrong_bytes_sent),
    "truncated GET": first_content_cut_short,
    "truncated GET, always": lambda: where(is_get, cut_short),
    "wrong bytes sent": lambda: where(is_put, wrong_bytes_sent),
    "wrong bytes received": lambda: where(is_get, wrong_bytes_received),
    "a web server's pages": lambda: page,
    "a web server's 404": lambda: always(404),
}
"""Name -> one that nothing happened to yet."""


class FaultProxy:
    """Serves on loopback while its block runs.

    Attributes:
        url: its endpoint.
        asked: method and path of each request so far.
    """

    def __init__(self, upstream: str, fault: Fault) -> None:
        self.asked: list[str] = []
        self._upstream = urlsplit(upstream).netloc
        # One at a time: a fault that counts has no lock of its own.
        self._lock = threading.Lock()
        self._fault = fault
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.close_connection = True
                body = self.rfile.read(length)
                if len(body) < length:
                    # Its sender hung up. The service would wait for the rest, and hold what the
                    # upload's own end waits for.
                    return
                answer = proxy._answer(Request(self.command, self.path, headers, body))
                # Who has seen enough of an answer hangs up.
                if answer is not None:
                    with suppress(ConnectionError):
                        self._send(answer)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

            def _send(self, answer: Answer) -> None:
                length = len(answer.body) if answer.length is None else answer.length
                self.send_response_only(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                if length >= 0:
                    self.send_header("Content-Length", str(length))
                self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: Request) -> Answer | None:
        with self._lock:
            self.asked.append(f"{request.method} {request.path}")
            return self._fault(request, self._forward)

    def _forward(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                if name not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(request.body)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        own = {"connection", "content-length", "transfer-encoding"}
        headers = [item for item in answer.getheaders() if item[0].lower() not in own]
        # To HEAD it is the object's.
        length = int(answer.getheader("Content-Length") or 0) if request.method == "HEAD" else None
        return Answer(answer.status, headers, body, length)
