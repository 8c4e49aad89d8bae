"""What an S3 service keeps beside an object's bytes: the checksum that it verified as they came.

Of an object that came in one request it is the sha256. Of one that came in parts it is the sha256
of theirs, with how many there are: `BASE64-N`. (Over parts S3 has a checksum of the whole object by
CRC only, which is weaker than theirs.)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from botocore import exceptions as boto

from mixnet_core.storage.s3.answers import is_missing, refuses_bytes
from mixnet_core.storage.s3.service import UNVERIFIED, VALIDATION, Service

# S3's own bounds, and what is worth a request.
_LEAST_PART_BYTES = 8 << 20
_MOST_PARTS = 10_000
_MIB = 1 << 20

Where = Mapping[str, str]
"""Bucket and key, as boto3's keywords."""


@dataclass(frozen=True)
class Kept:
    """Says what a service knows of an object without reading it.

    Attributes:
        bytes: its size.
        checksum: as this module writes it; "" where the service keeps none by sha256.
    """

    bytes: int
    checksum: str


def kept(service: Service, where: Where) -> Kept | None:
    """Returns what a service keeps of an object, whose content is not read; None: there is none.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    try:
        # Not HEAD, to which no answer says whether the object or its bucket is missing.
        answer = service.or_without(
            VALIDATION,
            lambda **more: service.client.get_object(**where, **more),
            {"ChecksumMode": "ENABLED"},
        )
    except boto.ClientError as error:
        if is_missing(error):
            return None
        raise
    answer["Body"].close()
    return Kept(int(answer.get("ContentLength", -1)), answer.get("ChecksumSHA256", ""))


def verifies(service: Service, probe: Where) -> bool:
    """Tells whether a service refuses what does not fit its checksum; asked once a client.

    One that keeps and repeats a checksum without looking at the bytes would confirm anything.

    Args:
        probe: where there may be an object for a moment, if it does not refuse.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    if service.verifies is None:
        other = checksum(hashlib.sha256(b"other bytes").digest())
        service.verifies = is_refused(
            lambda: service.client.put_object(**probe, Body=b"bytes", ChecksumSHA256=other)
        )
        if not service.verifies:
            service.note(UNVERIFIED)
            # It may not be there at all, and it is small.
            with suppress(boto.ClientError):
                service.client.delete_object(**probe)
    return service.verifies


def is_refused(send: Callable[[], object]) -> bool:
    """Tells whether bytes that do not fit the checksum that goes with them are refused for that.

    Raises:
        BotoCoreError, ClientError: as boto3, of an answer that may pass.
    """
    try:
        send()
    except boto.ClientError as error:
        return refuses_bytes(error)
    return False


def checksum(digest: bytes) -> str:
    """Returns a sha256 as S3 writes it."""
    return base64.b64encode(digest).decode()


def checksum_of_parts(digests: Sequence[bytes]) -> str:
    """Returns what S3 keeps of an object in parts, from each part's sha256."""
    return f"{checksum(hashlib.sha256(b''.join(digests)).digest())}-{len(digests)}"


def part_bytes(size: int, multipart_bytes: int) -> int:
    """Returns how large the parts of a file are.

    By its size alone, so that whoever goes on with an upload cuts the file as it was cut.

    Args:
        size: of the file.
        multipart_bytes: above which it goes in parts.
    """
    least = -(-size // _MOST_PARTS)
    return max(multipart_bytes // 4, _LEAST_PART_BYTES, -(-least // _MIB) * _MIB)


def digests_of(path: Path, cut: int) -> tuple[str, str]:
    """Returns a file's hex sha256, and what S3 keeps of it in parts of `cut` bytes."""
    whole, parts = hashlib.sha256(), []
    with path.open("rb") as file:
        while part := file.read(cut):
            whole.update(part)
            parts.append(hashlib.sha256(part).digest())
    return whole.hexdigest(), checksum_of_parts(parts)
