"""What an S3 service holds below a prefix, and since when by its own clock."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as boto

from mixnet_core.storage.s3.answers import code_of, lacks_something
from mixnet_core.storage.s3.service import Service
from mixnet_core.storage.storage import Stored

_GONE = ("NoSuchUpload", "NoSuchKey")


def list_objects(service: Service, bucket: str, prefix: str, *, below: str) -> list[Stored]:
    """Lists the objects whose keys begin with a prefix, by key.

    Args:
        prefix: of keys in the bucket.
        below: what is taken off from the beginning of each key.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    found = []
    pages = service.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for item in page.get("Contents", []):
            key = item["Key"].removeprefix(below)
            # Some services list a folder that is empty; hidden ones are somebody else's.
            folders = key.split("/")[:-1]
            if key and not key.endswith("/") and not any(part[:1] == "." for part in folders):
                found.append(Stored(key, int(item["Size"]), item["LastModified"].timestamp()))
    return sorted(found)


def store_time(service: Service, bucket: str, prefix: str) -> float:
    """Returns the service's time, in seconds since 1970; this machine's where it does not say it.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    answer: Any = service.client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return parsedate_to_datetime(said).timestamp()
    except (TypeError, ValueError):
        return time.time()


def list_uploads(service: Service, bucket: str, prefix: str) -> list[Stored]:
    """Lists the uploads in parts below a prefix that neither ended nor were given up, by key.

    A service without such uploads, or that does not list them, has none.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    pages = service.client.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, Prefix=prefix
    )
    found = []
    try:
        for page in pages:
            for item in page.get("Uploads", []):
                # One that was begun long ago may be getting on.
                parts = _parts(service, bucket, item["Key"], item["UploadId"])
                times = [item["Initiated"], *(part["LastModified"] for part in parts)]
                found.append(
                    Stored(
                        item["Key"].removeprefix(prefix),
                        sum(int(part["Size"]) for part in parts),
                        max(times).timestamp(),
                        item["UploadId"],
                    )
                )
    except boto.ClientError as error:
        if not lacks_something(error):
            raise
    return sorted(found)


def _parts(service: Service, bucket: str, key: str, upload: str) -> list[Any]:
    """Returns what is there of an upload in parts; nothing of one that has ended since."""
    pages = service.client.get_paginator("list_parts").paginate(
        Bucket=bucket, Key=key, UploadId=upload
    )
    try:
        return [part for page in pages for part in page.get("Parts", [])]
    except boto.ClientError as error:
        if code_of(error) not in _GONE and not lacks_something(error):
            raise
        return []


def abort_upload(service: Service, bucket: str, key: str, upload: str) -> None:
    """Gives an upload in parts up, with the parts that are there; one that is gone is gone.

    Raises:
        BotoCoreError, ClientError: as boto3.
    """
    try:
        service.client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except boto.ClientError as error:
        if code_of(error) not in _GONE:
            raise
