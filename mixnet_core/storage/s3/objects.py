"""Objects as data: all that are below a prefix, and each read as it was when they were listed."""

from __future__ import annotations

from collections.abc import Callable

from botocore import exceptions as boto

from mixnet_core.storage.s3.answers import code_of, is_missing, status_of
from mixnet_core.storage.s3.service import Service
from mixnet_core.storage.storage import Listed

# Objects of an answer; S3 gives no more.
PAGE = 1000

# Of an object that is another one by now; a stretch of one that is shorter is none of it.
_CHANGED_CODES = ("PreconditionFailed", "InvalidRange")
_CHANGED = (412, 416)


def list_all(
    service: Service, bucket: str, prefix: str, most: int | None, beginning: str = ""
) -> list[Listed]:
    """Lists whatever has a key that begins with a prefix, by key, which is given without it.

    Args:
        most: stop with the page that has this many; None: all.
        beginning: what the keys begin with after the prefix.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    found: dict[str, Listed] = {}
    pages = service.client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix + beginning, PaginationConfig={"PageSize": PAGE}
    )
    for page in pages:
        for item in page.get("Contents", []):
            key = item["Key"].removeprefix(prefix)
            # What stands at the prefix itself is a marker of its folder.
            if key:
                # A service may list one again that was written between two pages.
                found[key] = Listed(
                    key,
                    int(item["Size"]),
                    str(item.get("ETag", "")).strip('"'),
                    item["LastModified"].timestamp(),
                )
        if most is not None and len(found) >= most:
            break
    return sorted(found.values())


def is_object(service: Service, bucket: str, key: str) -> bool:
    """Tells whether there is an object at a key, by listing: no answer to HEAD has a reason.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    answer = service.client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    # What sorts first of all that begins so is that key itself, if it is there.
    return any(item["Key"] == key for item in answer.get("Contents", []))


def receive_listed(
    service: Service,
    bucket: str,
    prefix: str,
    listed: Listed,
    begin: Callable[[], None],
    write: Callable[[bytes], object],
    start: int,
    length: int | None,
) -> bool:
    """Reads an object or a stretch of it, as `storage.storage.Objects.receive`.

    Args:
        prefix: what stands before `listed.key` in the bucket.

    Raises:
        MachineError: as `Service.receive`.
        BotoCoreError, ClientError: as boto3.
    """
    wanted = listed.bytes - start if length is None else length
    whole = wanted == listed.bytes
    # Whatever a key is called, nothing here makes a path of it.
    where = {"Bucket": bucket, "Key": prefix + listed.key}
    if listed.etag:
        where["IfMatch"] = f'"{listed.etag}"'
    if not whole:
        where["Range"] = f"bytes={start}-{start + wanted - 1}"

    def take(chunk: bytes, _total: int | None) -> None:
        write(chunk)

    try:
        return service.receive(
            where,
            begin,
            take,
            size=wanted,
            etag=listed.etag or None,
            start=None if whole else start,
        )
    except boto.ClientError as error:
        if code_of(error) in _CHANGED_CODES or status_of(error) in _CHANGED or is_missing(error):
            return False
        raise
