"""An S3 service as it turns out to be: boto3's client, and what is not asked of it any more.

Services differ. Checksums are sent and asked for until one is refused; whether that was it shows in
the same request without. What was found is kept for the life of the client.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache, cached_property
from typing import Any, TypeVar

import boto3
import botocore.loaders
import botocore.session
from botocore import exceptions as boto
from botocore.config import Config

from mixnet_core.errors import MachineError
from mixnet_core.storage.s3.answers import is_conflict, lacks_something, may_pass
from mixnet_core.storage.s3.endpoint import Endpoint, refuse_page, refuse_redirect
from mixnet_core.storage.storage import CHUNK_BYTES
from mixnet_core.storage.uris import shown

# What not every service knows.
CHECKSUMS = "checksums"
VALIDATION = "validation"

NO_CHECKSUMS = (
    "no checksums are sent, as this machine's settings say: what is uploaded is read back"
)
REFUSES_CHECKSUMS = "it refuses checksums: what is uploaded is read back"
UNCONFIRMED = "it does not confirm checksums: what is uploaded is read back"
UNVERIFIED = "it takes checksums without looking at the bytes: what is uploaded is read back"
NO_PARTS = "it refuses uploads in parts: large files go in one request"
NO_CONDITION = "it refuses If-None-Match: that nobody else publishes there is taken on trust"

_BACKOFF_SECONDS = 0.1
_CONNECTIONS = 32
# A body that ended early, or arrived otherwise than it was sent.
_CUT_SHORT = (
    boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, boto.FlexibleChecksumError
)  # fmt: skip

T = TypeVar("T")


class Service:
    """Holds a client and what the service behind it turned out to lack.

    Attributes:
        client: boto3's, for s3. It sends checksums only where a request says so itself.
        endpoint: where it sends its requests.
        lacks: what it cannot do and what is done instead, in words.
        verifies: whether it refuses what does not fit its checksum; None: not known yet.
    """

    def __init__(self, uri: str, *, connect_seconds: float, read_seconds: float, attempts: int):
        """Makes a client from boto3's own chain; nothing is contacted.

        Args:
            uri: what it is for, without a secret.
            attempts: how often a request is sent in all.

        Raises:
            BotoCoreError, ValueError: as boto3, of a broken configuration.
        """
        self.lacks: list[str] = []
        self.verifies: bool | None = None
        self._uri = uri
        self._attempts = attempts
        # A session of its own: making clients from boto3's shared one is not thread-safe.
        core = botocore.session.Session()
        # What boto3 knows of S3 is read once in a process: it takes longer than all else here.
        core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
        asked = _wanted(core, "request_checksum_calculation")
        self._sends = {CHECKSUMS} if asked else set()
        if not asked:
            self.note(NO_CHECKSUMS)
        if _wanted(core, "response_checksum_validation"):
            self._sends.add(VALIDATION)
        self._session = boto3.session.Session(botocore_session=core)
        self._config = Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            # As many as fetch at once, and some (`storage.mirror.fetching`).
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": attempts},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self.client: Any = self._made(self._config)
        self.endpoint = Endpoint.of(self.client.meta.endpoint_url)

    @cached_property
    def unsigned(self) -> Any:
        """Returns a client whose signature leaves the body out: for what goes with a checksum."""
        return self._made(self._config.merge(Config(s3={"payload_signing_enabled": False})))

    def _made(self, config: Config) -> Any:
        client = self._session.client("s3", config=config)
        client.meta.events.register_first("needs-retry.s3", self._on_answer)
        return client

    def note(self, lack: str) -> None:
        """Keeps what turned out to be lacking, once."""
        if lack not in self.lacks:
            self.lacks.append(lack)

    def sends(self, feature: str) -> bool:
        """Tells whether requests still have a feature."""
        return feature in self._sends

    def or_without(self, feature: str, send: Callable[..., T], more: Mapping[str, str]) -> T:
        """Sends a request with a feature; where that is refused, and from then on, without.

        Args:
            send: is given `more` as keywords, or nothing.

        Raises:
            ClientError: the answer to what was sent without it, which is about something else.
        """
        if feature not in self._sends:
            return send()
        try:
            return send(**more)
        except boto.ClientError as error:
            if not lacks_something(error):
                raise
        try:
            answer = send()
        except boto.ClientError as error:
            # An answer about something else: it was the feature that was refused.
            if not (lacks_something(error) or may_pass(error)):
                self._leave_out(feature)
            raise
        self._leave_out(feature)
        return answer

    def receive(
        self,
        where: Mapping[str, str],
        begin: Callable[[], None],
        write: Callable[[bytes, int | None], None],
        *,
        size: int | None = None,
        etag: str | None = None,
        start: int | None = None,
    ) -> bool:
        """Reads an object, from its beginning again where an answer is cut short.

        Args:
            where: its bucket and key, as keywords.
            begin: called before the first byte of each attempt.
            write: is given each piece, and how many bytes there are in all, if that is known.
            size: an object of another one is not read; None: any.
            etag: an object of another one is not read, without its quotes; None: any.
            start: of a stretch, `size` bytes long, which `where` asks for; of it no checksum is
                asked for, as the service keeps none. None: the whole object.

        Returns:
            Whether it was read.

        Raises:
            MachineError: it, or what stands before it, answers with another stretch.
            BotoCoreError, ClientError: as boto3.
        """
        attempt = 1
        while True:
            answer = (
                self.or_without(
                    VALIDATION,
                    lambda **more: self.client.get_object(**where, **more),
                    {"ChecksumMode": "ENABLED"},
                )
                if start is None
                else self.client.get_object(**where)
            )
            total = answer.get("ContentLength")
            # Not `with body`: that yields the raw stream, which checks neither length nor checksum.
            with closing(answer["Body"]) as body:
                # Not every service heeds If-Match.
                if etag not in (None, str(answer.get("ETag", etag)).strip('"')):
                    return False
                if start is not None and size is not None:
                    self._expect_stretch(answer, where["Key"], start, size)
                # A proxy may leave out how long an answer is: it shows when it was read.
                if size not in (None, total) and total is not None:
                    return False
                begin()
                try:
                    arrived = 0
                    for chunk in body.iter_chunks(CHUNK_BYTES):
                        arrived += len(chunk)
                        write(chunk, total)
                    if size not in (None, arrived):
                        raise boto.IncompleteReadError(actual_bytes=arrived, expected_bytes=size)
                except _CUT_SHORT:
                    if attempt >= self._attempts:
                        raise
                else:
                    return True
            time.sleep(random.uniform(0.5, 1) * _BACKOFF_SECONDS * 2**attempt)
            attempt += 1

    def _expect_stretch(self, answer: Mapping[str, Any], key: str, start: int, size: int) -> None:
        found = str(answer.get("ContentRange", ""))
        if not found.startswith(f"bytes {start}-{start + size - 1}/"):
            raise MachineError(
                f"{self.endpoint} answers with another stretch of {shown(key)} than was asked for "
                f"(from byte {start:,}): it, or a proxy before it, has no ranges; reach the "
                "service without the proxy, or choose another one"
            )

    def _leave_out(self, feature: str) -> None:
        self._sends.discard(feature)
        if feature == CHECKSUMS:
            self.note(REFUSES_CHECKSUMS)

    def _on_answer(self, response: Any, operation: Any, attempts: int = 1, **_: object) -> Any:
        """Returns after how many seconds a request is sent again; None leaves that to boto3."""
        refuse_redirect(response, self.endpoint, self._uri)
        refuse_page(response, operation.name, self.endpoint, self._uri)
        if attempts < self._attempts and is_conflict(response):
            return random.uniform(0.5, 1) * _BACKOFF_SECONDS * 2**attempts
        return None


@cache
def _loader(data_path: str | None) -> botocore.loaders.Loader:
    return botocore.loaders.create_loader(data_path)


def _wanted(core: botocore.session.Session, setting: str) -> bool:
    """Tells whether a request has checksums wherever it may, as is AWS's default.

    AWS_REQUEST_CHECKSUM_CALCULATION and its sibling, or a profile's, may say otherwise.
    """
    return str(core.get_config_variable(setting) or "").lower() != "when_required"
