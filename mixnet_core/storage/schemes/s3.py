"""`s3://bucket/prefix`: an S3-compatible object store.

Credentials, region, profile and endpoint come from boto3's own chain (AWS_ACCESS_KEY_ID and its
siblings, AWS_ENDPOINT_URL_S3, ~/.aws), so they reach no recipe, flow parameter or database. Writing
needs permission to list, read, write and delete below the prefix.
"""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore import exceptions as boto

from mixnet_core.errors import InputError, IntegrityError, TransientError
from mixnet_core.storage.files import ASIDE_PREFIX, file_aside, os_errors_explained, sha256_of
from mixnet_core.storage.s3.answers import code_of, is_missing, may_pass, s3_errors_explained
from mixnet_core.storage.s3.kept import checksum, digests_of, kept, part_bytes, verifies
from mixnet_core.storage.s3.listing import abort_upload, list_objects, list_uploads, store_time
from mixnet_core.storage.s3.objects import is_object, list_all, receive_listed
from mixnet_core.storage.s3.parts import try_parts
from mixnet_core.storage.s3.sending import Unconditional, send_file, send_if_absent
from mixnet_core.storage.s3.service import CHECKSUMS, Service
from mixnet_core.storage.storage import (
    Listed,
    OnBytes,
    Storage,
    Stored,
    check_digest,
    checked_key,
    no_create_if_absent,
    stored_wrongly,
)
from mixnet_core.storage.trial import try_publishing
from mixnet_core.storage.uris import shown

# One request up to here: the server then refuses the whole object unless our digest fits it.
MULTIPART_BYTES = 64 << 20
CONNECT_SECONDS = 5
READ_SECONDS = 60
# botocore waits between them, longer each time; so do we where an answer is cut short.
MAX_ATTEMPTS = 5

# How often an upload in parts that is gone is looked for or begun anew.
_BEGINNINGS = 3

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

log = logging.getLogger(__name__)


class _S3:
    """Opens `s3://` URIs."""

    def open(self, rest: str, uri: str) -> Storage:
        """Opens a prefix in a bucket.

        Raises:
            InputError: the bucket or the prefix is unusable.
            MachineError: the AWS configuration on this machine is broken.
        """
        bucket, _, prefix = rest.partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise InputError(f"{shown(uri)!r} names no usable bucket: expected s3://bucket/prefix")
        prefix = prefix.rstrip("/")
        return S3Storage(bucket, checked_key(prefix) if prefix else "")


SCHEME = _S3()


class S3Storage:
    """Implements `storage.Storage` on objects below a prefix of a bucket, which must exist."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.uri = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self.single_writer = False
        self._prefix = f"{prefix}/" if prefix else ""
        with s3_errors_explained(self.uri):
            self._service = Service(
                self.uri,
                connect_seconds=CONNECT_SECONDS,
                read_seconds=READ_SECONDS,
                attempts=MAX_ATTEMPTS,
            )
        self._client = self._service.client
        endpoint = self._service.endpoint
        self.address = f"{endpoint.scheme}://{endpoint.address}"

    def is_there(self) -> bool:
        """Tells whether the bucket, and anything below the prefix, exists."""
        with self._explained(""):
            answer = self._client.list_objects_v2(
                Bucket=self.bucket, Prefix=self._prefix, MaxKeys=1
            )
        return not self._prefix or bool(answer.get("Contents"))

    def read(self, key: str) -> bytes:
        """Reads a small object's content, as `Storage.read`."""
        content = bytearray()
        with self._explained(key):
            self._service.receive(
                self._where(key), content.clear, lambda chunk, _: content.extend(chunk)
            )
        return bytes(content)

    def exists(self, key: str) -> bool:
        """Tells whether there is an object at `key`."""
        with self._explained(key):
            try:
                self._client.head_object(**self._where(key))
            except boto.ClientError as error:
                if may_pass(error):
                    raise
            else:
                return True
            # No answer to HEAD has a reason: a missing bucket is not a missing object, and an
            # expired token is neither.
            try:
                answer = self._client.get_object(**self._where(key))
            except boto.ClientError as error:
                if is_missing(error):
                    return False
                raise
            answer["Body"].close()
        return True

    def names(self, folder: str = "") -> list[str]:
        """Lists the names directly in a folder, as `Storage.names`."""
        prefix = self._key(folder.rstrip("/")) + "/" if folder else self._prefix
        found: list[str] = []
        with self._explained(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                found += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
                found += [item["Key"] for item in page.get("Contents", [])]
        return sorted(name.removeprefix(prefix) for name in found if name != prefix)

    def listed(self, folder: str = "") -> list[Stored]:
        """Lists all objects in a folder and below it, as `Storage.listed`."""
        prefix = self._key(folder.rstrip("/")) + "/" if folder else self._prefix
        with self._explained(folder):
            return list_objects(self._service, self.bucket, prefix, below=self._prefix)

    def objects(self, most: int | None = None, beginning: str = "") -> list[Listed]:
        """Lists every object, as `storage.Objects.objects`."""
        with self._explained(""):
            return list_all(self._service, self.bucket, self._prefix, most, beginning)

    def stands_at(self) -> bool:
        """Tells whether the prefix is an object's key, as `storage.Objects.stands_at`."""
        with self._explained(""):
            return bool(self._prefix) and is_object(
                self._service, self.bucket, self._prefix.removesuffix("/")
            )

    def receive(
        self,
        listed: Listed,
        begin: Callable[[], None],
        write: Callable[[bytes], object],
        *,
        start: int = 0,
        length: int | None = None,
    ) -> bool:
        """Reads an object as it was listed, as `storage.Objects.receive`."""
        with self._explained(listed.key):
            return receive_listed(
                self._service, self.bucket, self._prefix, listed, begin, write, start, length
            )

    def is_link(self, folder: str) -> bool:
        """Returns False: S3 has no links."""
        return False

    def now(self) -> float:
        """Returns the service's time, which it says with every answer."""
        with self._explained(""):
            return store_time(self._service, self.bucket, self._prefix)

    def unfinished(self) -> list[Stored]:
        """Lists uploads in parts that were begun, as `Storage.unfinished`."""
        with self._explained(""):
            return list_uploads(self._service, self.bucket, self._prefix)

    def give_up(self, begun: Stored) -> bool:
        """Gives up an upload in parts; whoever is at it is refused its next part."""
        with self._explained(begun.key):
            abort_upload(self._service, self.bucket, self._prefix + begun.key, begun.upload)
        return True

    def upload(
        self,
        path: Path,
        key: str,
        sha256: str,
        on_bytes: OnBytes | None = None,
        *,
        reread: bool = False,
    ) -> bool:
        """Puts a file at `key`, as `Storage.upload`."""
        with os_errors_explained(path, "read"):
            size = path.stat().st_size
            if size <= MULTIPART_BYTES:
                check_digest(sha256_of(path), sha256, path)
        for beginning in range(1, _BEGINNINGS + 1):
            if self._is_stored(key, path, size, sha256, reread=reread and beginning == 1):
                return beginning > 1
            # Explained within: boto's errors are OSErrors.
            with os_errors_explained(path, "read"), self._explained(key):
                try:
                    if size > MULTIPART_BYTES and self._service.sends(CHECKSUMS):
                        self._verifies()
                    confirmed = send_file(
                        self._service,
                        self._where(key),
                        path,
                        sha256,
                        multipart_bytes=MULTIPART_BYTES,
                        on_bytes=on_bytes,
                    )
                except boto.ClientError as error:
                    # Complete, perhaps, by another process or by a request whose answer was lost.
                    if code_of(error) != "NoSuchUpload" or beginning == _BEGINNINGS:
                        raise
                else:
                    break
        self._require_stored(key, size, sha256, confirmed)
        return True

    def download(self, key: str, target: Path, on_bytes: OnBytes | None = None) -> str:
        """Copies an object to a file, as `Storage.download`."""
        digest, done = hashlib.sha256(), 0
        # Explained within: boto's errors are OSErrors, and file_aside blames the disk for those.
        with file_aside(target) as aside, aside.open("wb") as out, self._explained(key):

            def begin() -> None:
                nonlocal digest, done
                out.seek(0)
                out.truncate()
                digest, done = hashlib.sha256(), 0

            def write(chunk: bytes, total: int | None) -> None:
                nonlocal done
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if on_bytes is not None:
                    on_bytes(done, total)

            self._service.receive(self._where(key), begin, write)
        return digest.hexdigest()

    def create(self, key: str, content: bytes) -> bool:
        """Puts `content` at `key` if nothing is there, as `Storage.create`."""
        if self.single_writer and self.exists(key):
            return False
        with self._explained(key):
            try:
                confirmed = send_if_absent(
                    self._service, self._where(key), content, unconditionally=self.single_writer
                )
            except Unconditional as error:
                raise no_create_if_absent(self.uri, str(error)) from None
        if confirmed is None:
            return False
        self._require_stored(key, len(content), hashlib.sha256(content).hexdigest(), confirmed)
        return True

    def remove(self, key: str) -> None:
        """Deletes the object at `key`, if there is one."""
        with self._explained(key):
            self._client.delete_object(**self._where(key))

    def check_writable(self) -> list[str]:
        """Does what publishing does with small objects, as `Storage.check_writable`."""
        # Some services keep a folder that is empty.
        try_publishing(self, joined_by="-", more=self._try_parts)
        return list(self._service.lacks)

    def _try_parts(self, key: str) -> None:
        with self._explained(key):
            try_parts(self._service, self._where(key))

    def _require_stored(self, key: str, size: int, sha256: str, confirmed: bool) -> None:
        """Reads back what the service did not confirm.

        Raises:
            IntegrityError: it holds something else.
        """
        if confirmed and self._verifies():
            log.debug("%s/%s: its sha256 was confirmed, not read back", self.uri, key)
            return
        stored = self._stored_digest(key, size)
        log.debug("%s/%s: read back", self.uri, key)
        if stored != sha256:
            raise stored_wrongly(f"{self.uri}/{key}", stored, sha256)

    def _is_stored(self, key: str, path: Path, size: int, sha256: str, *, reread: bool) -> bool:
        """Tells whether the object at `key` has this size and content already.

        Args:
            reread: whether its bytes are looked at, whatever the service keeps beside them.
        """
        if not reread:
            is_kept = self._is_kept(key, path, size, sha256)
            if is_kept is not None:
                return is_kept
        try:
            return self._stored_digest(key, size) == sha256
        except IntegrityError:
            return False
        except TransientError as error:
            # A service that finds its copy damaged answers 5xx for ever: writing anew repairs it.
            if not isinstance(error.__context__, boto.ClientError):
                raise
            return False

    def _is_kept(self, key: str, path: Path, size: int, sha256: str) -> bool | None:
        """Tells it by the checksum that the service keeps; None: it keeps none to go by."""
        with self._explained(key):
            try:
                found = kept(self._service, self._where(key))
            except boto.ClientError as error:
                # A service that finds its copy damaged answers 5xx for ever: writing anew repairs
                # it.
                if may_pass(error):
                    return False
                raise
            if found is None or found.bytes != size:
                return False
            if not (found.checksum and self._service.sends(CHECKSUMS) and self._verifies()):
                return None
        if "-" not in found.checksum:
            return found.checksum == checksum(bytes.fromhex(sha256))
        with os_errors_explained(path, "read"):
            whole, of_parts = digests_of(path, part_bytes(size, MULTIPART_BYTES))
        check_digest(whole, sha256, path)
        # Otherwise it may have been cut into other parts.
        return True if found.checksum == of_parts else None

    def _verifies(self) -> bool:
        probe = f"{ASIDE_PREFIX}probe-{uuid.uuid4().hex[:12]}-checksum"
        with self._explained(probe):
            return verifies(self._service, self._where(probe))

    def _stored_digest(self, key: str, size: int) -> str | None:
        """Returns the hex sha256 of an object; None if it is missing or of another size."""
        digest = hashlib.sha256()

        def begin() -> None:
            nonlocal digest
            digest = hashlib.sha256()

        def write(chunk: bytes, total: int | None) -> None:
            digest.update(chunk)

        with self._explained(key):
            try:
                whole = self._service.receive(self._where(key), begin, write, size=size)
            except boto.ClientError as error:
                if is_missing(error):
                    return None
                raise
        return digest.hexdigest() if whole else None

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(key)}

    def _key(self, key: str) -> str:
        return self._prefix + checked_key(key)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        endpoint = self._service.endpoint
        with s3_errors_explained(f"{self.uri}/{key}" if key else self.uri, endpoint):
            try:
                yield
            except boto.ClientError as error:
                if code_of(error) != "NoSuchBucket":
                    raise
                raise InputError(
                    f"no bucket {self.bucket!r} at {endpoint} (for {self.uri}): create it, or "
                    "correct the URI or AWS_ENDPOINT_URL_S3"
                ) from None
