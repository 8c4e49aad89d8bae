"""An upload in parts as a service has it: begun, gone on with, given up.

Who goes on with one that did not end: this machine at once (`s3.begun`), another one when nothing
was added to it for `QUIET_SECONDS`; or it is removed with what no release names.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from botocore import exceptions as boto

from mixnet_core.storage.s3.kept import Where
from mixnet_core.storage.s3.service import CHECKSUMS, Service

QUIET_SECONDS = 900.0
"""A part that takes longer is of a line that no release of this size goes over."""

_ALGORITHM = {"ChecksumAlgorithm": "SHA256"}


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


def begin(service: Service, where: Where) -> Upload:
    """Begins one.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """

    def create(**more: str) -> Any:
        return service.client.create_multipart_upload(**where, **more)

    return Upload(str(service.or_without(CHECKSUMS, create, _ALGORITHM)["UploadId"]))


def give_up(service: Service, where: Where, upload: Upload) -> None:
    """Removes one with its parts, if the service can do that now."""
    # What cannot be given up now is found with what no release names; the error is the one to tell.
    with suppress(boto.ClientError, boto.BotoCoreError):
        service.client.abort_multipart_upload(**where, UploadId=upload.id)


def unfinished(service: Service, where: Where, own: str) -> Upload | None:
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
