"""Sending a large file to an S3 service in parts, several at a time, and going on after a kill.

A file is read once, in order: the bytes whose sha256 is compared at the end are the bytes that were
sent, and nothing is completed where it differs. Each part goes with its sha256, which the service
verifies; so is the signature's, as that header is signed. What is in memory is at most
`WORKERS + 2` parts: 96 MiB, up to files of 160 GB.

An upload that did not end stays, with its parts. Who goes on with it: this machine at once
(`s3.begun`), another one when nothing was added to it for `QUIET_SECONDS`; or it is removed with
what no release names.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from botocore import exceptions as boto

from mixnet_core.errors import IntegrityError
from mixnet_core.storage.s3.answers import code_of, lacks_something, may_pass
from mixnet_core.storage.s3.begun import begun_here
from mixnet_core.storage.s3.kept import (
    Where,
    checksum,
    checksum_of_parts,
    is_refused,
    kept,
    part_bytes,
)
from mixnet_core.storage.s3.service import CHECKSUMS, NO_PARTS, UNCONFIRMED, UNVERIFIED, Service
from mixnet_core.storage.storage import OnBytes, check_digest

WORKERS = 4
QUIET_SECONDS = 900.0
"""A part that takes longer is of a line that no release of this size goes over."""

_ALGORITHM = {"ChecksumAlgorithm": "SHA256"}

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """Says what a service has of one part.

    Attributes:
        bytes: its size.
        etag: as the service wrote it; where nothing is encrypted there, the md5.
        checksum: as `s3.kept` writes a sha256; "" where the service does not list it.
    """

    bytes: int
    etag: str
    checksum: str


@dataclass(frozen=True)
class Upload:
    """Names an upload in parts that has not ended, and the parts that are there, by number."""

    id: str
    parts: dict[int, Part] = field(default_factory=dict)


def send_in_parts(
    service: Service,
    where: Where,
    path: Path,
    sha256: str,
    *,
    multipart_bytes: int,
    on_bytes: OnBytes | None = None,
) -> bool:
    """Sends a file in parts, those that the service has already excepted.

    Args:
        sha256: hex, of the file.
        multipart_bytes: as `s3.kept.part_bytes`.
        on_bytes: told as parts arrive, from this thread.

    Returns:
        Whether the service confirmed the checksum of what it put together.

    Raises:
        IntegrityError: the file is not what `sha256` says; the upload is given up.
        BotoCoreError, ClientError: as boto3. NoSuchUpload: another process completed it or gave it
            up, or it is complete and the answer that said so was lost.
    """
    size = path.stat().st_size
    sending = _Sending(service, where, path, sha256, part_bytes(size, multipart_bytes), size)
    with begun_here(f"{service.endpoint}/{where['Bucket']}/{where['Key']}") as begun:
        upload = _unfinished(service, where, begun.upload)
        if upload is not None:
            begun.note(upload.id)
            log.info("%s: going on, %d parts are there", where["Key"], len(upload.parts))
            try:
                confirmed = sending.send(upload, on_bytes)
            except boto.ClientError as error:
                if may_pass(error):
                    raise
                # Its parts are not what they were taken for, or were sent in another way.
                log.info("%s: beginning anew (%s)", where["Key"], code_of(error))
            else:
                begun.forget()
                return confirmed
        upload = Upload(_begin(service, where))
        begun.note(upload.id)
        confirmed = sending.send(upload, on_bytes)
        begun.forget()
        return confirmed


def try_parts(service: Service, where: Where) -> None:
    """Begins an upload in parts, sends a part that is not what its checksum says, and gives up.

    Raises:
        BotoCoreError, ClientError: as boto3; what the service cannot do is noted.
    """
    try:
        upload = Upload(_begin(service, where))
    except boto.ClientError as error:
        if not lacks_something(error):
            raise
        service.note(NO_PARTS)
        return
    try:
        if service.sends(CHECKSUMS) and service.verifies:
            other = checksum(hashlib.sha256(b"other bytes").digest())
            client, number = service.unsigned, {"PartNumber": 1, "UploadId": upload.id}
            if not is_refused(
                lambda: client.upload_part(**where, **number, Body=b"bytes", ChecksumSHA256=other)
            ):
                service.verifies = False
                service.note(UNVERIFIED)
    finally:
        _give_up(service, where, upload)


@dataclass
class _Sending:
    """Holds what is sent, and where to."""

    service: Service
    where: Where
    path: Path
    sha256: str
    cut: int
    size: int

    def send(self, upload: Upload, on_bytes: OnBytes | None) -> bool:
        """Sends the parts that are missing and completes the upload, as `send_in_parts`.

        It is given up where going on with it would fail again.
        """
        try:
            sent = self._sent(upload, on_bytes)
            return self._complete(upload, sent)
        except IntegrityError:
            _give_up(self.service, self.where, upload)
            raise
        except boto.ClientError as error:
            if not may_pass(error):
                _give_up(self.service, self.where, upload)
            raise

    def _sent(self, upload: Upload, on_bytes: OnBytes | None) -> list[tuple[str, bytes]]:
        """Returns the etag and the sha256 of each part, when all are there."""
        if self.service.verifies:
            # Made here: making clients is not thread-safe.
            _ = self.service.unsigned
        whole = hashlib.sha256()
        sent: list[tuple[str, bytes]] = []
        pending: deque[Future[tuple[str, bytes]]] = deque()

        def finish_first() -> None:
            sent.append(pending.popleft().result())
            if on_bytes is not None:
                on_bytes(min(len(sent) * self.cut, self.size), self.size)

        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="parts")
        try:
            for number, part in enumerate(self._read(), start=1):
                pending.append(pool.submit(self._part, upload, number, part))
                whole.update(part)
                if len(pending) > WORKERS:
                    finish_first()
            while pending:
                finish_first()
        finally:
            # After an error nothing more is begun; what is under way ends before this returns.
            pool.shutdown(cancel_futures=True)
        check_digest(whole.hexdigest(), self.sha256, self.path)
        return sent

    def _read(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while part := file.read(self.cut):
                yield part

    def _part(self, upload: Upload, number: int, part: bytes) -> tuple[str, bytes]:
        """Sends a part unless it is there."""
        digest = hashlib.sha256(part).digest()
        found = upload.parts.get(number)
        if found is not None and _is_of(found, part, digest):
            return found.etag, digest

        def send(**more: str) -> Any:
            # The checksum is signed: hashing the body once more for the signature adds nothing.
            client = self.service.unsigned if more and self.service.verifies else self.client
            return client.upload_part(
                **self.where, UploadId=upload.id, PartNumber=number, Body=part, **more
            )

        answer = self.service.or_without(CHECKSUMS, send, {"ChecksumSHA256": checksum(digest)})
        return answer["ETag"], digest

    def _complete(self, upload: Upload, sent: list[tuple[str, bytes]]) -> bool:
        def complete(**more: str) -> Any:
            # With them the service refuses a part of an earlier process's that is another one.
            parts = [
                {"PartNumber": number, "ETag": etag}
                | ({"ChecksumSHA256": checksum(digest)} if more else {})
                for number, (etag, digest) in enumerate(sent, start=1)
            ]
            return self.client.complete_multipart_upload(
                **self.where, UploadId=upload.id, MultipartUpload={"Parts": parts}
            )

        answer = self.service.or_without(CHECKSUMS, complete, {"with": "checksums"})
        if not self.service.sends(CHECKSUMS):
            return False
        expected = checksum_of_parts([digest for _, digest in sent])
        if answer.get("ChecksumSHA256") == expected:
            return True
        stored = kept(self.service, self.where)
        if stored is not None and stored.checksum == expected:
            return True
        self.service.note(UNCONFIRMED)
        return False

    @property
    def client(self) -> Any:
        return self.service.client


def _is_of(found: Part, part: bytes, digest: bytes) -> bool:
    if found.bytes != len(part):
        return False
    if found.checksum:
        return found.checksum == checksum(digest)
    return found.etag.strip('"') == hashlib.md5(part, usedforsecurity=False).hexdigest()


def _begin(service: Service, where: Where) -> str:
    def begin(**more: str) -> Any:
        return service.client.create_multipart_upload(**where, **more)

    return str(service.or_without(CHECKSUMS, begin, _ALGORITHM)["UploadId"])


def _give_up(service: Service, where: Where, upload: Upload) -> None:
    # What cannot be given up now is found with what no release names; the error is the one to tell.
    with suppress(boto.ClientError, boto.BotoCoreError):
        service.client.abort_multipart_upload(**where, UploadId=upload.id)


def _unfinished(service: Service, where: Where, own: str) -> Upload | None:
    """Returns the upload to go on with, if there is one: this machine's own, or nobody's."""
    try:
        pages = service.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=where["Bucket"], Prefix=where["Key"]
        )
        found, now = [], None
        for page in pages:
            now = _time_of(page)
            found += [item for item in page.get("Uploads", []) if _may_be_ours(item, where)]
        for item in sorted(found, key=lambda item: item["Initiated"], reverse=True):
            upload, last = _with_parts(service, where, item)
            quiet = now is not None and now - last > timedelta(seconds=QUIET_SECONDS)
            if upload.id == own or quiet:
                return upload
    except boto.ClientError:
        # Not every service lists them, nor lets everybody.
        return None
    return None


def _may_be_ours(item: dict[str, Any], where: Where) -> bool:
    return item["Key"] == where["Key"] and item.get("ChecksumAlgorithm", "SHA256") == "SHA256"


def _with_parts(service: Service, where: Where, item: dict[str, Any]) -> tuple[Upload, datetime]:
    """Returns an upload with its parts, and when something was last added to it."""
    pages = service.client.get_paginator("list_parts").paginate(**where, UploadId=item["UploadId"])
    parts, last = {}, item["Initiated"]
    for page in pages:
        for part in page.get("Parts", []):
            last = max(last, part["LastModified"])
            # A part that was sent twice may be listed twice: any of the two that fits will do.
            parts[int(part["PartNumber"])] = Part(
                int(part["Size"]), part["ETag"], part.get("ChecksumSHA256", "")
            )
    return Upload(item["UploadId"], parts), last


def _time_of(answer: dict[str, Any]) -> datetime | None:
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return None
