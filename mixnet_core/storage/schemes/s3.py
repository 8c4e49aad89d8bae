"""`s3://bucket/prefix`: any S3 service through boto3.

Secrets come from boto3's default chain, another server than Amazon's from AWS_ENDPOINT_URL_S3 or
AWS_ENDPOINT_URL. See `storage.Storage` for what each method promises.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as boto
from botocore.config import Config

from mixnet_core.errors import InputError, IntegrityError, MachineError, MixnetError, TransientError
from mixnet_core.storage.files import file_aside, os_errors_explained, sha256_of
from mixnet_core.storage.storage import (
    CHUNK_BYTES,
    OnBytes,
    Storage,
    check_digest,
    checked_key,
    stored_wrongly,
)
from mixnet_core.storage.uris import shown, shown_words

# One request up to here: the server then refuses the whole object unless our digest fits it.
MULTIPART_BYTES = 64 << 20
CONNECT_SECONDS = 5
READ_SECONDS = 60
# Standard mode waits up to 1, 2, 4 and 8 seconds between them.
MAX_ATTEMPTS = 5

_PROBE = ".write-probe"
# What botocore and urllib say of an endpoint's URL.
_ENDPOINT_FAULT = re.compile(r"Invalid endpoint|^Port |IPv6|netloc")
_REFUSED = {
    "AccessDenied", "ExpiredToken", "Forbidden", "InvalidAccessKeyId", "InvalidToken",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "Unauthorized",
}  # fmt: skip
_WRONG_BYTES = {
    "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch",
}  # fmt: skip
_OVERLOADED = {
    "ConditionalRequestConflict", "InternalError", "OperationAborted", "RequestTimeout",
    "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests",
}  # fmt: skip


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


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
        self._prefix = f"{prefix}/" if prefix else ""
        with s3_errors_explained(self.uri):
            # A session of its own: making clients from boto3's shared one is not thread-safe.
            self._client = boto3.session.Session().client(
                "s3",
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
                ),
            )
        # Host and port only: an endpoint's user part would be a secret, whatever letters are in it.
        address = self._client.meta.endpoint_url.rpartition("://")[2].rpartition("@")[2]
        self._endpoint = address.partition("/")[0]

    def read(self, key: str) -> bytes:
        """Reads a small object's content, as `Storage.read`."""
        with self._explained(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key))
            # Not `with body`: that yields the raw stream, which checks neither length nor checksum.
            with closing(answer["Body"]) as body:
                return body.read()

    def exists(self, key: str) -> bool:
        """Tells whether there is an object at `key`."""
        with self._explained(key):
            try:
                self._client.head_object(Bucket=self.bucket, Key=self._key(key))
            except boto.ClientError as error:
                if _status(error) != 404:
                    raise
            else:
                return True
            # HEAD's 404 carries no reason, and a missing bucket is not a missing object.
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except boto.ClientError as error:
                if _status(error) == 404:
                    raise self._no_bucket() from None
                raise
        return False

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

    def upload(self, path: Path, key: str, sha256: str) -> bool:
        """Puts a file at `key`, as `Storage.upload`."""
        with os_errors_explained(path, "read"):
            size = path.stat().st_size
            check_digest(sha256_of(path), sha256, path)
        if self._is_stored(key, size, sha256):
            return False
        with os_errors_explained(path, "read"):
            body = path.open("rb")
        with body, self._explained(key):
            if size <= MULTIPART_BYTES:
                self._client.put_object(
                    Bucket=self.bucket,
                    Key=self._key(key),
                    Body=body,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                )
            else:
                # The server checks each part's digest; the whole is checked below.
                self._client.upload_fileobj(
                    body,
                    self.bucket,
                    self._key(key),
                    ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                    Config=TransferConfig(
                        multipart_threshold=MULTIPART_BYTES,
                        multipart_chunksize=max(MULTIPART_BYTES // 4, 8 << 20),
                        max_concurrency=4,
                    ),
                )
        stored = self._stored_digest(key, size)
        if stored != sha256:
            raise stored_wrongly(f"{self.uri}/{key}", stored, sha256)
        return True

    def download(self, key: str, target: Path, on_bytes: OnBytes | None = None) -> str:
        """Copies an object to a file, as `Storage.download`."""
        digest, done = hashlib.sha256(), 0
        with self._explained(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key))
            total = answer["ContentLength"]
            # Explained inside too: boto's errors are OSErrors, and file_aside blames the disk.
            with (
                closing(answer["Body"]) as body,
                file_aside(target) as aside,
                aside.open("wb") as out,
                self._explained(key),
            ):
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    out.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if on_bytes is not None:
                        on_bytes(done, total)
        return digest.hexdigest()

    def create(self, key: str, content: bytes) -> bool:
        """Puts `content` at `key` if nothing is there, as `Storage.create`."""
        with self._explained(key):
            try:
                self._client.put_object(
                    Bucket=self.bucket, Key=self._key(key), Body=content, IfNoneMatch="*"
                )
            except boto.ClientError as error:
                if _status(error) == 412:
                    return False
                raise
        return True

    def check_writable(self) -> None:
        """Writes and deletes a small object."""
        with self._explained(_PROBE):
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except boto.ClientError as error:
                # Some services make a missing bucket on the first write: a typing error would pass.
                if _status(error) == 404:
                    raise self._no_bucket() from None
            # One fixed name: where deleting is forbidden, probes do not pile up.
            self._client.put_object(Bucket=self.bucket, Key=self._key(_PROBE), Body=b"writable\n")
            self._client.delete_object(Bucket=self.bucket, Key=self._key(_PROBE))

    def _is_stored(self, key: str, size: int, sha256: str) -> bool:
        """Tells whether the object at `key` has this size and content already."""
        try:
            return self._stored_digest(key, size) == sha256
        except IntegrityError:
            return False
        except TransientError as error:
            # A service that finds its copy damaged answers 5xx for ever: writing anew repairs it.
            if not isinstance(error.__context__, boto.ClientError):
                raise
            return False

    def _stored_digest(self, key: str, size: int) -> str | None:
        """Returns the hex sha256 of an object; None if it is missing or of another size."""
        digest = hashlib.sha256()
        with self._explained(key):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key))
            except boto.ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] != size:
                    return None
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    digest.update(chunk)
        return digest.hexdigest()

    def _key(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _no_bucket(self) -> InputError:
        return InputError(
            f"no bucket {self.bucket!r} at {self._endpoint} (for {self.uri}): create it, or "
            "correct the URI or AWS_ENDPOINT_URL_S3"
        )

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        with s3_errors_explained(f"{self.uri}/{key}" if key else self.uri, self._endpoint):
            try:
                yield
            except boto.ClientError as error:
                if _code(error) == "NoSuchBucket":
                    raise self._no_bucket() from None
                raise


@contextmanager
def s3_errors_explained(uri: str, endpoint: str = "the S3 service") -> Iterator[None]:
    """Turns what boto3 raises into one line with the URI and a remedy.

    Only codes are quoted, and no error of boto3's is kept as the cause, whose text a log would
    print: a service repeats the access key, boto3 an endpoint's URL with the password in it.

    Raises:
        InputError, MachineError, IntegrityError, TransientError: as the error tree describes them.
    """
    try:
        yield
    except MixnetError:
        raise
    except boto.ClientError as error:
        raise _from_answer(error, uri, endpoint) from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError,
            boto.TokenRetrievalError, boto.UnauthorizedSSOTokenError):  # fmt: skip
        raise MachineError(
            f"no complete S3 credentials for {uri}: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from None
    except boto.SSLError:
        raise MachineError(
            f"no trusted TLS connection to {endpoint} for {uri}: install its certificate authority "
            "and name it in AWS_CA_BUNDLE; verification is never switched off"
        ) from None
    except (boto.ProfileNotFound, boto.ConfigParseError, boto.InvalidRegionError) as error:
        raise MachineError(
            f"the AWS configuration does not allow {uri}: {shown_words(str(error))}"
        ) from None
    except boto.ParamValidationError:
        raise InputError(f"{uri} is no usable S3 URI: expected s3://bucket/prefix") from None
    except (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError) as error:
        raise TransientError(
            f"no answer from {endpoint} for {uri} ({type(error).__name__}): check the network, the "
            "service and AWS_ENDPOINT_URL_S3, or try again later"
        ) from None
    except boto.FlexibleChecksumError:
        raise IntegrityError(
            f"{uri} does not fit the checksum that {endpoint} keeps of it: publish it again from "
            "its source"
        ) from None
    except boto.BotoCoreError as error:
        raise MachineError(
            f"cannot use {uri} ({type(error).__name__}): check the AWS configuration"
        ) from None
    except ValueError as error:
        if not _ENDPOINT_FAULT.search(str(error)):
            raise
        # Its text is not quoted: an endpoint can hold a password.
        raise InputError(
            f"AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL is no URL (for {uri}): expected "
            "http(s)://host:port"
        ) from None


def _from_answer(error: boto.ClientError, uri: str, endpoint: str) -> MixnetError:
    code, status = _code(error), _status(error)
    if code in _WRONG_BYTES:
        return IntegrityError(
            f"{endpoint} refused {uri} because its bytes do not fit their digest ({code}): nothing "
            "was stored; run the stage again"
        )
    if code in _OVERLOADED or status == 429 or status >= 500:
        return TransientError(f"{endpoint} failed on {uri} ({code}, {status}): try again later")
    if code in _REFUSED or status in (401, 403):
        return MachineError(
            f"{endpoint} refused access to {uri} ({code}): check the credentials in use "
            f"({_credential_source()}) and that they may list, read, write and delete there"
        )
    if status == 404:
        return InputError(f"no object at {uri}: check the URI")
    return InputError(
        f"{endpoint} does not accept {uri} ({code}, {status}): check the URI and AWS_DEFAULT_REGION"
    )


def _credential_source() -> str:
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return "AWS_ACCESS_KEY_ID in the environment"
    return f"profile {os.environ.get('AWS_PROFILE', 'default')} or this machine's role"


def _code(error: boto.ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _status(error: boto.ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
