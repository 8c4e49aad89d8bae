"""Sending to an S3 service: a file whole or in parts, an object that must not be there yet.

What the service confirmed by a checksum is known to be stored; each function says whether it was.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore import exceptions as boto

from mixnet_core.storage.s3.answers import code_of, lacks_something, status_of
from mixnet_core.storage.s3.service import (
    CHECKSUMS,
    NO_CONDITION,
    NO_PARTS,
    REFUSES_CHECKSUMS,
    UNCONFIRMED,
    Service,
)

_LEAST_PART_BYTES = 8 << 20
_PARTS_CHECKSUM = {"ChecksumAlgorithm": "SHA256"}
_TAKEN = 412

Where = Mapping[str, str]
"""Bucket and key, as boto3's keywords."""


class Unconditional(Exception):
    """Says that a service refused the condition under which an object was to be made."""


def send_file(
    service: Service, where: Where, path: Path, sha256: str, *, multipart_bytes: int
) -> bool:
    """Sends a file.

    Args:
        sha256: hex, of the file.
        multipart_bytes: a larger file goes in parts.

    Returns:
        Whether the service confirmed its digest.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    in_parts = path.stat().st_size > multipart_bytes and NO_PARTS not in service.lacks
    if in_parts:
        try:
            return _send_in_parts(service, where, path, sha256, multipart_bytes)
        except boto.ClientError as error:
            if not lacks_something(error):
                raise

    def put(**more: str) -> Any:
        with path.open("rb") as body:
            return service.client.put_object(Body=body, **where, **more)

    confirmed = _put(service, put, bytes.fromhex(sha256))
    if in_parts:
        service.note(NO_PARTS)
    return confirmed


def send_if_absent(
    service: Service, where: Where, content: bytes, *, unconditionally: bool
) -> bool | None:
    """Sends an object unless there is one already.

    Args:
        unconditionally: whether it is sent without a condition where that is refused.

    Returns:
        Whether the service confirmed its digest; None: there is one already.

    Raises:
        Unconditional: the condition is refused.
        BotoCoreError, ClientError: as boto3.
    """
    # Kept with the object: it tells ours, whose answer was lost, from an equal one of another's.
    writer = uuid.uuid4().hex
    digest = hashlib.sha256(content).digest()

    def put(**more: str) -> Any:
        return service.client.put_object(Body=content, Metadata={"writer": writer}, **where, **more)

    def put_if_absent(**more: str) -> Any:
        return put(IfNoneMatch="*", **more)

    if NO_CONDITION in service.lacks:
        return _put(service, put, digest)
    try:
        return _put(service, put_if_absent, digest)
    except boto.ClientError as error:
        if status_of(error) == _TAKEN:
            return False if _is_of(writer, service, where) else None
        if not lacks_something(error):
            raise
        if not unconditionally:
            said = f"{code_of(error)} {status_of(error)}".strip()
            raise Unconditional(f"it answers {said} to If-None-Match") from None
    confirmed = _put(service, put, digest)
    service.note(NO_CONDITION)
    return confirmed


def try_parts(service: Service, where: Where) -> None:
    """Begins an upload in parts and gives it up.

    Raises:
        BotoCoreError, ClientError: as boto3; where the service has none, that is noted.
    """

    def begin(**more: str) -> Any:
        return service.client.create_multipart_upload(**where, **more)

    try:
        upload = service.or_without(CHECKSUMS, begin, _PARTS_CHECKSUM)
    except boto.ClientError as error:
        if not lacks_something(error):
            raise
        service.note(NO_PARTS)
        return
    try:
        service.client.abort_multipart_upload(**where, UploadId=upload["UploadId"])
    except boto.ClientError as error:
        # Given up already: the answer that said so was lost.
        if code_of(error) != "NoSuchUpload":
            raise


def _put(service: Service, put: Any, digest: bytes) -> bool:
    expected = base64.b64encode(digest).decode()
    answer = service.or_without(CHECKSUMS, put, {"ChecksumSHA256": expected})
    if answer.get("ChecksumSHA256") == expected:
        return True
    if service.sends(CHECKSUMS) and REFUSES_CHECKSUMS not in service.lacks:
        service.note(UNCONFIRMED)
    return False


def _send_in_parts(
    service: Service, where: Where, path: Path, sha256: str, multipart_bytes: int
) -> bool:
    part_bytes = max(multipart_bytes // 4, _LEAST_PART_BYTES)
    config = TransferConfig(
        multipart_threshold=multipart_bytes, multipart_chunksize=part_bytes, max_concurrency=4
    )

    def put(**more: str) -> None:
        # Opened for each: what sends a file may close it.
        with path.open("rb") as body:
            service.client.upload_fileobj(body, *where.values(), ExtraArgs=more, Config=config)

    try:
        service.or_without(CHECKSUMS, put, _PARTS_CHECKSUM)
    except boto.ClientError as error:
        if code_of(error) != "NoSuchUpload":
            raise
        # Completed, perhaps, and the answer that said so was lost: then there is an object.
        if _head(service, where) is None:
            raise
        return False
    if not service.sends(CHECKSUMS):
        return False
    head = service.client.head_object(**where, ChecksumMode="ENABLED")
    whole, of_parts = _digests(path, part_bytes)
    # Both: the file may have changed after it was hashed, and its parts with it.
    return bool(whole == sha256 and head.get("ChecksumSHA256") == of_parts)


def _digests(path: Path, part_bytes: int) -> tuple[str, str]:
    """Returns a file's hex sha256, and what S3 keeps of one in parts: their digests' digest."""
    whole, parts = hashlib.sha256(), []
    with path.open("rb") as file:
        while part := file.read(part_bytes):
            whole.update(part)
            parts.append(hashlib.sha256(part).digest())
    of_parts = base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode()
    return whole.hexdigest(), f"{of_parts}-{len(parts)}"


def _is_of(writer: str, service: Service, where: Where) -> bool:
    head = _head(service, where)
    return head is not None and head.get("Metadata", {}).get("writer") == writer


def _head(service: Service, where: Where) -> Any:
    try:
        return service.client.head_object(**where)
    except boto.ClientError:
        return None
