"""Sending to an S3 service: a file, an object that must not be there yet.

What the service confirmed by a checksum is known to be stored; each function says whether it was.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path, PurePosixPath
from typing import Any

from botocore import exceptions as boto

from mixnet_core.storage.files import sha256_of
from mixnet_core.storage.s3.answers import code_of, lacks_something, status_of
from mixnet_core.storage.s3.kept import Where, checksum
from mixnet_core.storage.s3.parts import send_in_parts
from mixnet_core.storage.s3.service import (
    CHECKSUMS,
    NO_CONDITION,
    NO_PARTS,
    REFUSES_CHECKSUMS,
    UNCONFIRMED,
    Service,
)
from mixnet_core.storage.storage import OnBytes, check_digest

_TAKEN = 412
_TEXT = "text/plain; charset=utf-8"
_SHOWN = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".md": _TEXT,
    ".csv": _TEXT,
    ".yaml": _TEXT,
}


class Unconditional(Exception):
    """Says that a service refused the condition under which an object was to be made."""


def send_file(
    service: Service,
    where: Where,
    path: Path,
    sha256: str,
    *,
    multipart_bytes: int,
    on_bytes: OnBytes | None = None,
) -> bool:
    """Sends a file.

    Args:
        sha256: hex, of the file.
        multipart_bytes: a larger file goes in parts (`s3.parts`).
        on_bytes: told of progress.

    Returns:
        Whether the service confirmed its digest.

    Raises:
        IntegrityError: the file is not what `sha256` says.
        BotoCoreError, ClientError: as boto3; NoSuchUpload as `s3.parts.send_in_parts`.
    """
    size = path.stat().st_size
    in_parts = size > multipart_bytes and NO_PARTS not in service.lacks
    if in_parts:
        try:
            return send_in_parts(
                service, where, path, sha256, multipart_bytes=multipart_bytes, on_bytes=on_bytes
            )
        except boto.ClientError as error:
            if not lacks_something(error):
                raise
    check_digest(sha256_of(path), sha256, path)

    def put(**more: str) -> Any:
        with path.open("rb") as body:
            return service.client.put_object(Body=body, **where, **_type(where), **more)

    confirmed = _put(service, put, bytes.fromhex(sha256))
    if in_parts:
        service.note(NO_PARTS)
    if on_bytes is not None:
        on_bytes(size, size)
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
        return service.client.put_object(
            Body=content, Metadata={"writer": writer}, **where, **_type(where), **more
        )

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


def _type(where: Where) -> dict[str, str]:
    """Returns what a browser needs to show an object, rather than to save it."""
    suffix = PurePosixPath(where["Key"]).suffix
    return {"ContentType": _SHOWN[suffix]} if suffix in _SHOWN else {}


def _put(service: Service, put: Any, digest: bytes) -> bool:
    expected = checksum(digest)
    answer = service.or_without(CHECKSUMS, put, {"ChecksumSHA256": expected})
    if answer.get("ChecksumSHA256") == expected:
        return True
    if service.sends(CHECKSUMS) and REFUSES_CHECKSUMS not in service.lacks:
        service.note(UNCONFIRMED)
    return False


def _is_of(writer: str, service: Service, where: Where) -> bool:
    head = _head(service, where)
    return head is not None and head.get("Metadata", {}).get("writer") == writer


def _head(service: Service, where: Where) -> Any:
    try:
        return service.client.head_object(**where)
    except boto.ClientError:
        return None
