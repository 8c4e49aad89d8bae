"""What an S3 service answered, or boto3 raised, in one line and as the type that says who acts.

Only codes, regions and addresses are quoted, and no error of boto3's is kept as the cause, whose
text a log would print: a service repeats the access key, boto3 an endpoint's URL with the password
in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from mixnet_core.errors import InputError, IntegrityError, MachineError, MixnetError, TransientError
from mixnet_core.storage import tls
from mixnet_core.storage.s3.endpoint import REDIRECTS, Endpoint, no_s3
from mixnet_core.storage.uris import shown_words

# What botocore and urllib say of an endpoint's URL.
_ENDPOINT_FAULT = re.compile(r"Invalid endpoint|^Port |IPv6|netloc")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")
_MAY = (
    "check the credentials in use ({source}) and that they may list, read, write and delete there"
)
# By code: what to do about a refusal.
_REFUSED = {
    "ExpiredToken": "the credentials in use ({source}) have expired: renew them",
    "TokenRefreshRequired": "the credentials in use ({source}) have expired: renew them",
    "RequestTimeTooSkewed": "{clock}: set this machine's clock",
    "RequestExpired": "{clock}: set this machine's clock",
    "InvalidAccessKeyId": "it does not know the access key: check the credentials in use "
    "({source}), and that they are of this service",
    "InvalidToken": "it does not know the session token: check the credentials in use ({source})",
    "SignatureDoesNotMatch": "the secret does not fit the access key, or something between here "
    "and there changes requests: check the credentials in use ({source})",
    "InvalidObjectState": "it is in an archive from which it cannot be read: restore it first, or "
    "move it to a storage class that is read at once",
    "AccessDenied": _MAY, "AllAccessDisabled": _MAY, "AccountProblem": _MAY, "Forbidden": _MAY,
    "Unauthorized": _MAY, "UnauthorizedAccess": _MAY,
}  # fmt: skip
_WRONG_BYTES = {
    "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch",
}  # fmt: skip
_OVERLOADED = {
    "ConditionalRequestConflict", "InternalError", "NoSuchUpload", "OperationAborted",
    "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException",
    "TooManyRequests",
}  # fmt: skip
_CONFLICTS = {"ConditionalRequestConflict", "OperationAborted"}
_FULL = re.compile(r"StorageFull|InsufficientStorage|Quota|DiskFull|TooManyObjects")
_FULL_STATUS = 507
# Server errors that will be so tomorrow: not implemented, HTTP's version, a full disk, a login.
_LASTING = {501, 505, 507, 511}
_PASSING = {408, 425, 429}
# What a service answers to a header or a request that it does not have.
_LACKING = {400, 405, 411, 501}
# What answers of S3 always have, and boto3 takes from them without looking.
_ALWAYS_SENT = {"ETag", "UploadId"}
_ANOTHER_REGION = {
    "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect",
    "TemporaryRedirect",
}  # fmt: skip


@contextmanager
def s3_errors_explained(uri: str, endpoint: Endpoint | None = None) -> Iterator[None]:
    """Turns what boto3 raises into one line with the URI and a remedy.

    Args:
        uri: of what was asked for, of an opened storage: it holds no secret.
        endpoint: None: it is not known yet.

    Raises:
        InputError, MachineError, IntegrityError, TransientError: as the error tree describes them.
    """
    where = endpoint or "the S3 service"
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
    except boto.SSLError as error:
        raise _from_tls(error, uri, where) from None
    except (boto.ProfileNotFound, boto.ConfigParseError, boto.InvalidRegionError) as error:
        raise MachineError(
            f"the AWS configuration does not allow {uri}: {shown_words(str(error))}"
        ) from None
    except boto.ParamValidationError:
        raise InputError(f"{uri} is no usable S3 URI: expected s3://bucket/prefix") from None
    except (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError) as error:
        if endpoint and _was_answered(error) and endpoint.expects_tls():
            raise _expects_tls(uri, endpoint) from None
        answer = "whole answer" if isinstance(error, boto.IncompleteReadError) else "answer"
        raise TransientError(
            f"no {answer} from {where} for {uri} ({type(error).__name__}): check the network, the "
            "service and AWS_ENDPOINT_URL_S3, or try again later"
        ) from None
    except boto.FlexibleChecksumError:
        raise IntegrityError(
            f"{uri} does not fit the checksum that {where} keeps of it: publish it again from "
            "its source"
        ) from None
    except ResponseParserError:
        raise no_s3(where, uri) from None
    except KeyError as error:
        if error.args[0] not in _ALWAYS_SENT:
            raise
        raise no_s3(where, uri) from None
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


def status_of(error: boto.ClientError) -> int:
    """Returns the HTTP status of an answer; 0: it has none."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def code_of(error: boto.ClientError) -> str:
    """Returns the service's code; "" where it sent none, as in every answer to HEAD.

    botocore puts the status in its place, and a service may send anything.
    """
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else ""


def may_pass(error: boto.ClientError) -> bool:
    """Tells whether the same request may have another answer later."""
    status = status_of(error)
    if status in _LASTING or _FULL.search(code_of(error)):
        return False
    return code_of(error) in _OVERLOADED or status in _PASSING or status >= 500


def is_conflict(response: Any) -> bool:
    """Tells whether an answer says that something else is done to the object just now.

    AWS: "Try again" (error codes of S3). boto3 does not: what is left is an object that was to be
    deleted.

    Args:
        response: as botocore's event `needs-retry` has it; None: no answer came.
    """
    code = response[1].get("Error", {}).get("Code") if response else None
    return code in _CONFLICTS


def lacks_something(error: boto.ClientError) -> bool:
    """Tells whether a service may have refused a request because it does not know a part of it."""
    code = code_of(error)
    told = code in _REFUSED or code in _WRONG_BYTES or code in _ANOTHER_REGION
    return status_of(error) in _LACKING and not (told or may_pass(error) or _FULL.search(code))


def is_missing(error: boto.ClientError) -> bool:
    """Tells whether there is no such object, in a bucket that is there."""
    return status_of(error) == 404 and code_of(error) != "NoSuchBucket"


def refuses_bytes(error: boto.ClientError) -> bool:
    """Tells whether a service refused bytes that did not fit the checksum beside them.

    By whatever code: some have words of their own for it.

    Raises:
        ClientError: the answer may be another one later.
    """
    if may_pass(error):
        raise error
    return code_of(error) in _WRONG_BYTES or (
        status_of(error) == 400 and code_of(error) not in _REFUSED
    )


def _from_answer(error: boto.ClientError, uri: str, endpoint: Endpoint | None) -> MixnetError:
    code, status = code_of(error), status_of(error)
    said = f"{code}, {status}" if code else f"{status}, without a reason"
    where = endpoint or "the S3 service"
    if not code and status == 400 and endpoint and endpoint.expects_tls():
        # So says a server of https to whoever speaks http to it.
        return _expects_tls(uri, endpoint)
    if code in _WRONG_BYTES:
        return IntegrityError(
            f"{where} refused {uri} because its bytes do not fit their digest ({code}): nothing "
            "was stored; run the stage again"
        )
    if status == _FULL_STATUS or _FULL.search(code):
        return MachineError(
            f"{where} has no room for {uri} ({said}): free space there, raise its quota, or choose "
            "another registry"
        )
    if may_pass(error):
        return TransientError(f"{where} failed on {uri} ({said}): try again later")
    if status in REDIRECTS or code in _ANOTHER_REGION:
        return _elsewhere(error, uri, where, said)
    if code in _REFUSED or status in (401, 403):
        remedy = _REFUSED.get(code, _MAY)
        source, clock = _credential_source(), _clock(error)
        return MachineError(
            f"{where} refused access to {uri} ({code or said}): "
            f"{remedy.format(source=source, clock=clock)}"
        )
    if status == 404 and not code:
        # S3 says what is missing; HEAD, to which it cannot, is asked again before it gets here.
        return no_s3(where, uri)
    if status == 404:
        return InputError(f"no object at {uri}: check the URI")
    if status in _LASTING or status == 405 or code == "NotImplemented":
        return MachineError(
            f"{where} does not offer what {uri} needs ({said}): choose another registry"
        )
    return InputError(
        f"{where} does not accept {uri} ({said}): check the URI, AWS_ENDPOINT_URL_S3 and "
        "AWS_DEFAULT_REGION"
    )


def _elsewhere(error: boto.ClientError, uri: str, where: object, said: str) -> InputError:
    body = error.response.get("Error", {})
    headers = _headers(error)
    region = str(body.get("Region") or headers.get("x-amz-bucket-region") or "")
    host = str(body.get("Endpoint") or "")
    named = [
        f"AWS_DEFAULT_REGION to {region}" if _CODE.fullmatch(region) else "",
        f"AWS_ENDPOINT_URL_S3 to https://{host}" if re.fullmatch(r"[A-Za-z0-9.-]+", host) else "",
    ]
    remedy = " or ".join(text for text in named if text)
    remedy = f"set {remedy}" if remedy else "correct AWS_DEFAULT_REGION or AWS_ENDPOINT_URL_S3"
    return InputError(f"{where} does not serve {uri}, another region does ({said}): {remedy}")


def _from_tls(error: boto.SSLError, uri: str, where: object) -> MixnetError:
    if tls.spoke_no_tls(error):
        return InputError(
            f"{where} does not speak TLS (for {uri}): write http:// instead of https:// in "
            "AWS_ENDPOINT_URL_S3, or the port on which the service speaks TLS"
        )
    why = tls.untrusted(error)
    if why is None:
        return TransientError(
            f"the TLS connection to {where} for {uri} broke: check the service, or try again later"
        )
    return MachineError(
        f"no trusted TLS connection to {where} for {uri} ({why}): install its certificate "
        "authority and name it in AWS_CA_BUNDLE; verification is never switched off"
    )


def _expects_tls(uri: str, endpoint: Endpoint) -> InputError:
    return InputError(
        f"{endpoint} speaks TLS (for {uri}): write https:// instead of http:// in "
        "AWS_ENDPOINT_URL_S3"
    )


def _was_answered(error: Exception) -> bool:
    """Tells whether there was a connection: where none was made, TLS is not what fails."""
    return isinstance(error, boto.ConnectionClosedError | boto.HTTPClientError) and not isinstance(
        error, boto.ReadTimeoutError | boto.ConnectTimeoutError | boto.ProxyConnectionError
    )


def _clock(error: boto.ClientError) -> str:
    """Returns how far this machine's clock is off, by the answer's date."""
    try:
        theirs = parsedate_to_datetime(_headers(error).get("date", ""))
    except ValueError:
        return "this machine's clock and the service's differ"
    theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
    minutes = round((datetime.now(UTC) - theirs).total_seconds() / 60)
    if minutes == 0:
        # Whoever answered is not who compared.
        return "this machine's clock and the service's differ"
    side = "ahead of" if minutes > 0 else "behind"
    return f"this machine's clock is {abs(minutes)} minutes {side} the service's"


def _headers(error: boto.ClientError) -> Mapping[str, str]:
    return error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})


def _credential_source() -> str:
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return "AWS_ACCESS_KEY_ID in the environment"
    return f"profile {os.environ.get('AWS_PROFILE', 'default')} or this machine's role"
