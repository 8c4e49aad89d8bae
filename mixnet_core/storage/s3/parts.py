"""Sending a large file to an S3 service in parts, several at a time, and going on after a kill.

A file is read twice. First in order, for the sha256 of each part and of the whole, which is
compared before anything is completed; then by those who send, in pieces that stay in a processor's
cache. A file that changed in between is refused by the service, which verifies each part's sha256
(one that does not is read back); so is the signature's, as that header is signed. No part is held
in memory, so that parts wait for a worker and never workers for the oldest part: with a few parts
in memory that was a quarter of the time (`python -m benchmarks upload`).

An upload that was killed or lost its store stays, with its parts, to be gone on with
(`s3.unfinished`); of one that was ended on purpose nothing stays.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore import exceptions as boto

from mixnet_core.errors import IntegrityError
from mixnet_core.storage.in_time import done_in_time
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
from mixnet_core.storage.s3.unfinished import Part, Upload, begin, give_up, unfinished
from mixnet_core.storage.storage import OnBytes, check_digest

WORKERS = 4
_WAITING = 64
"""More parts than this are not prepared: after an error little was read for nothing."""
_CHUNK_BYTES = 1 << 20
_SECONDS_TO_END = 10.0

log = logging.getLogger(__name__)


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
        upload = unfinished(service, where, begun.upload)
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
        upload = begin(service, where)
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
        upload = begin(service, where)
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
        give_up(service, where, upload)


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
        except BaseException as error:
            give_up_now = partial(give_up, self.service, self.where, upload)
            if not isinstance(error, Exception):
                # Ctrl-C or a cancel: nothing is to be left, and nobody to be kept waiting.
                done_in_time(give_up_now, f"an upload of {self.path.name}", _SECONDS_TO_END)
            elif not _helps_another_attempt(error):
                give_up_now()
            raise

    def _sent(self, upload: Upload, on_bytes: OnBytes | None) -> list[tuple[str, bytes]]:
        """Returns the etag and the sha256 of each part, when all are there."""
        if self.service.verifies:
            # Made here: making clients is not thread-safe.
            _ = self.service.unsigned
        sent: list[tuple[str, bytes]] = []
        pending: deque[Future[tuple[str, bytes]]] = deque()

        def finish_first() -> None:
            sent.append(pending.popleft().result())
            if on_bytes is not None:
                on_bytes(min(len(sent) * self.cut, self.size), self.size)

        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="parts")
        # One open file: whatever takes its name meanwhile, these are the bytes.
        with self.path.open("rb", buffering=0) as file:
            try:
                for number, (part, digest) in enumerate(self._parts(file), start=1):
                    pending.append(pool.submit(self._part, upload, number, part, digest))
                    while pending and (pending[0].done() or len(pending) > _WAITING):
                        finish_first()
                while pending:
                    finish_first()
            finally:
                # After an error nothing more is begun; what is under way ends before this returns.
                pool.shutdown(cancel_futures=True)
        return sent

    def _parts(self, file: io.FileIO) -> Iterator[tuple[_Piece, bytes]]:
        """Yields each part with its sha256.

        Raises:
            IntegrityError: after the last one: the file is not what `sha256` says.
        """
        whole = hashlib.sha256()
        for start in range(0, self.size, self.cut):
            part, digest = _Piece(file, start, min(self.cut, self.size - start)), hashlib.sha256()
            for chunk in part.chunks():
                digest.update(chunk)
                whole.update(chunk)
            yield part, digest.digest()
        check_digest(whole.hexdigest(), self.sha256, self.path)

    def _part(self, upload: Upload, number: int, part: _Piece, digest: bytes) -> tuple[str, bytes]:
        """Sends a part unless it is there."""
        found = upload.parts.get(number)
        if found is not None and _is_of(found, part, digest):
            return found.etag, digest

        def send(**more: str) -> Any:
            # The checksum is signed: hashing the body once more for the signature adds nothing.
            client = self.service.unsigned if more and self.service.verifies else self.client
            part.seek(0)
            return client.upload_part(
                **self.where, UploadId=upload.id, PartNumber=number, Body=part, **more
            )

        try:
            answer = self.service.or_without(CHECKSUMS, send, {"ChecksumSHA256": checksum(digest)})
        except boto.HTTPClientError as error:
            # botocore takes whatever a body raises for a fault of the line.
            if isinstance(raised := error.kwargs.get("error"), IntegrityError):
                raise raised from None
            raise
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


class _Piece(io.RawIOBase):
    """A part of an open file, as a file."""

    def __init__(self, file: io.FileIO, start: int, size: int):
        self._file, self._start, self.size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer)[: max(0, self.size - self._at)]
        got = os.preadv(self._file.fileno(), [into], self._start + self._at)
        if into and not got:
            # Without this the service waits for the rest.
            raise IntegrityError(f"{self._file.name} became shorter while it was being sent")
        self._at += got
        return got

    def chunks(self) -> Iterator[memoryview]:
        """Yields its content; each chunk is gone with the next one."""
        self.seek(0)
        chunk = memoryview(bytearray(min(_CHUNK_BYTES, self.size)))
        while got := self.readinto(chunk):
            yield chunk[:got]


def _helps_another_attempt(error: Exception) -> bool:
    """Tells whether what is there can be gone on with."""
    if isinstance(error, boto.ClientError):
        return may_pass(error)
    return not isinstance(error, IntegrityError)


def _is_of(found: Part, part: _Piece, digest: bytes) -> bool:
    if found.bytes != part.size:
        return False
    if found.checksum:
        return found.checksum == checksum(digest)
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in part.chunks():
        md5.update(chunk)
    return found.etag.strip('"') == md5.hexdigest()
